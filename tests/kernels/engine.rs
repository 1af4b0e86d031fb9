//! The GPU engine: replays are repeatable, read-backs are ordered, errors are returned.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use danlu::compute::{ComputeError, DType, Device, Layout, Opening, Recording, Tensor, matmul, ops};
use libtest_mimic::Failed;

type Test = fn() -> Result<(), Failed>;

pub(super) const TESTS: [(&str, Test); 10] = [
    ("replays_repeat_bit_by_bit", replays_repeat_bit_by_bit),
    ("read_backs_wait_their_turn", read_backs_wait_their_turn),
    ("forgotten_tickets_do_no_harm", forgotten_tickets_do_no_harm),
    ("large_transfers_arrive", large_transfers_arrive),
    ("too_much_memory_is_refused", too_much_memory_is_refused),
    ("a_view_past_its_buffer_is_refused", a_view_past_its_buffer_is_refused),
    ("a_bad_kernel_is_an_error", a_bad_kernel_is_an_error),
    ("a_profile_names_every_kernel", a_profile_names_every_kernel),
    ("shaders_of_a_folder_are_followed", shaders_of_a_folder_are_followed),
    ("released_scratch_is_not_lent_again", released_scratch_is_not_lent_again),
];

fn device() -> Device {
    super::open(Opening::default())
}

fn ramp(device: &mut Device, shape: &[usize]) -> Tensor {
    let tensor = device.alloc("ramp", shape, DType::F32).unwrap();
    let data: Vec<f32> = (0..tensor.len()).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
    device.write(&tensor, &data).unwrap();
    tensor
}

fn replays_repeat_bit_by_bit() -> Result<(), Failed> {
    let mut device = device();
    let heads = ops::Heads { query: 2, key: 1, size: 32 };
    let (x, w) = (ramp(&mut device, &[70, 64]), ramp(&mut device, &[heads.qkv(), 64]));
    let qkv = device.alloc("qkv", &[70, heads.qkv()], DType::F32)?;
    let (out, lse) =
        (device.alloc("out", &[70, heads.out()], DType::F32)?, device.alloc("lse", &[2, 2, 35], DType::F32)?);
    let (dqkv, dw) =
        (device.alloc("dqkv", &[70, heads.qkv()], DType::F32)?, device.alloc("dw", &[heads.qkv(), 64], DType::F32)?);
    let total = device.alloc("total", &[1], DType::F32)?;
    // Two texts in the first sequence, one in the second.
    let begins = device.alloc("begins", &[70], DType::U32)?;
    device.write(&begins, &[[0; 20].as_slice(), &[20; 15], &[0; 35]].concat())?;
    let mut rec = Recording::new(&mut device);
    matmul(&mut rec, Layout::NT, &x, &w, &qkv, false)?;
    ops::attention_forward(&mut rec, &qkv, &begins, &out, &lse, 2, heads)?;
    ops::attention_backward(&mut rec, &qkv, &begins, &out, &lse, &out, &dqkv, 2, heads)?;
    matmul(&mut rec, Layout::TN, &dqkv, &x, &dw, false)?;
    ops::sum(&mut rec, &dw, &total, false)?;
    let program = rec.compile()?;
    let mut seen = Vec::new();
    for _ in 0..3 {
        device.replay(&[&program])?;
        let mut bits: Vec<u32> = Vec::new();
        for tensor in [&out, &dqkv, &dw, &total] {
            bits.extend(device.read::<f32>(tensor)?.iter().map(|x| x.to_bits()));
        }
        seen.push(bits);
    }
    assert!(seen[0].iter().any(|b| *b != 0), "something was computed");
    assert_eq!(seen[0], seen[1]);
    assert_eq!(seen[0], seen[2]);
    Ok(())
}

fn read_backs_wait_their_turn() -> Result<(), Failed> {
    let mut device = device();
    let x = device.alloc("x", &[3], DType::F32)?;
    device.write(&x, &[1.0_f32, 2.0, 3.0])?;
    let mut rec = Recording::new(&mut device);
    ops::scale(&mut rec, &x, 2.0)?;
    let program = rec.compile()?;
    let mut tickets = Vec::new();
    for _ in 0..5 {
        tickets.push(device.request(&x)?);
        device.replay(&[&program])?;
    }
    // Requested in order, collected in another; each has the values at the time of its request.
    for i in [4, 0, 2, 1, 3] {
        let values = device.collect::<f32>(&mut tickets[i], true)?.expect("it waited");
        assert_eq!(values, [1.0, 2.0, 3.0].map(|x: f32| x * f32::from(1_u8 << i)));
    }
    assert!(device.collect::<f32>(&mut tickets[0], true).is_err(), "a ticket is answered once");
    Ok(())
}

fn forgotten_tickets_do_no_harm() -> Result<(), Failed> {
    let mut device = device();
    let x = ramp(&mut device, &[5]);
    let mut first = device.request(&x)?;
    for _ in 0..200 {
        device.request(&x)?;
    }
    assert!(device.collect::<f32>(&mut first, true).is_err(), "given up long ago");
    let mut last = device.request(&x)?;
    assert!(device.collect::<f32>(&mut last, true)?.is_some());
    Ok(())
}

fn large_transfers_arrive() -> Result<(), Failed> {
    // More than one piece of 64 MiB.
    let mut device = device();
    let n = (64 << 18) + 1234;
    let x = device.alloc("x", &[n], DType::F32)?;
    let data: Vec<f32> = (0..n).map(|i| i as f32).collect();
    device.write(&x, &data)?;
    assert!(device.read::<f32>(&x)? == data);
    Ok(())
}

fn too_much_memory_is_refused() -> Result<(), Failed> {
    let mut device = device();
    device.set_budget(u64::MAX);
    let error = device.alloc("huge", &[1 << 45], DType::F32).expect_err("128 TiB");
    assert!(matches!(error, ComputeError::Memory { .. }), "{error}");
    device.set_budget(1 << 20);
    let before = device.memory().0;
    let error = device.alloc("above", &[1 << 19], DType::F32).expect_err("above the budget");
    assert!(matches!(error, ComputeError::Memory { .. }), "{error}");
    assert_eq!(device.memory().0, before);
    // The device still works.
    let x = ramp(&mut device, &[100]);
    assert_eq!(device.read::<f32>(&x)?.len(), 100);
    device.free(&x);
    assert_eq!(device.memory().0, before);
    Ok(())
}

fn a_view_past_its_buffer_is_refused() -> Result<(), Failed> {
    let mut device = device();
    let x = ramp(&mut device, &[10]);
    let mut rec = Recording::new(&mut device);
    ops::scale(&mut rec, &x.part("past", 0, &[100]), 2.0)?;
    let error = rec.compile().err().expect("90 elements too many");
    assert!(matches!(error, ComputeError::Shape { .. }), "{error}");
    assert!(device.read::<f32>(&x.part("past", 64, &[1])).is_err());
    assert!(device.read::<f32>(&x).is_ok());
    Ok(())
}

fn a_bad_kernel_is_an_error() -> Result<(), Failed> {
    let mut device = device();
    let x = ramp(&mut device, &[10]);
    device.alter("scale", "fn main( {".into());
    let mut rec = Recording::new(&mut device);
    ops::scale(&mut rec, &x, 2.0)?;
    let error = rec.compile().err().expect("no WGSL");
    assert!(matches!(&error, ComputeError::Kernel { kernel, .. } if kernel == "scale"), "{error}");
    let mut rec = Recording::new(&mut device);
    ops::fill(&mut rec, &x, 2.0)?;
    let program = rec.compile()?;
    device.replay(&[&program])?;
    assert_eq!(device.read::<f32>(&x)?, [2.0; 10]);
    Ok(())
}

fn a_profile_names_every_kernel() -> Result<(), Failed> {
    let mut device = device();
    let x = ramp(&mut device, &[1000]);
    let mut rec = Recording::new(&mut device);
    ops::scale(&mut rec, &x, 2.0)?;
    ops::fill(&mut rec, &x, 2.0)?;
    ops::scale(&mut rec, &x, 2.0)?;
    let program = rec.compile()?;
    let times = device.profile(&[&program])?;
    assert_eq!(device.read::<f32>(&x)?[999], 4.0, "a profile also runs");
    if times.is_empty() {
        return Ok(()); // No timestamps there.
    }
    let calls = |name: &str| times.iter().find(|t| t.name == name).map(|t| t.calls);
    assert_eq!((calls("scale"), calls("fill"), times.len()), (Some(2), Some(1), 2));
    assert!(times.iter().all(|t| t.ms.is_finite() && t.ms >= 0.0), "{times:?}");
    Ok(())
}

/// Sizing a run measures a small model and frees its memory; later recordings must not use the scratch that was freed
/// with it.
fn released_scratch_is_not_lent_again() -> Result<(), Failed> {
    let mut device = device();
    let norm = |device: &mut Device| -> Result<Vec<f32>, Failed> {
        let (x, w) = (ramp(device, &[40, 64]), ramp(device, &[64]));
        let (rstd, dx, dw) = (ramp(device, &[40]), ramp(device, &[40, 64]), ramp(device, &[64]));
        let mut rec = Recording::new(device);
        ops::rmsnorm_backward(&mut rec, &x, &x, &w, &rstd, &dx, &dw, None, false)?;
        let program = rec.compile()?;
        device.replay(&[&program])?;
        Ok(device.read::<f32>(&dw)?)
    };
    let mark = device.mark();
    let first = norm(&mut device)?;
    device.release(mark);
    assert_eq!(first, norm(&mut device)?);
    Ok(())
}

/// Shaders are read from a folder at the start and when they change; a broken one is an error with file and line, and
/// existing pipelines keep running.
fn shaders_of_a_folder_are_followed() -> Result<(), Failed> {
    const SCALE: &str = "out[i] * p.factor";
    let built_in = include_str!("../../shaders/elementwise.wgsl");
    let line = 1 + built_in.lines().position(|line| line.contains(SCALE)).ok_or("the kernel has another text")?;
    let (raised, broken) =
        (built_in.replace(SCALE, "out[i] * p.factor + 1.0"), built_in.replace(SCALE, "out[i] * lost"));
    let place = format!("elementwise.wgsl:{line}: ");
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("elementwise.wgsl");
    let open = || super::open(Opening { shaders: Some(folder.path().into()), ..Opening::default() });

    fs::write(&file, &broken)?;
    let mut device = open();
    let x = device.alloc("x", &[10], DType::F32)?;
    let mut rec = Recording::new(&mut device);
    ops::scale(&mut rec, &x, 2.0)?;
    let error = rec.compile().err().ok_or("a broken shader was taken")?.to_string();
    assert!(error.contains(&place), "{error}");

    fs::write(&file, &raised)?;
    let mut device = open();
    let x = device.alloc("x", &[10], DType::F32)?;
    let mut rec = Recording::new(&mut device);
    ops::scale(&mut rec, &x, 2.0)?;
    let program = rec.compile()?;
    let run = |device: &mut Device| -> Result<f32, Failed> {
        device.write(&x, &[1.0_f32; 10])?;
        device.replay(&[&program])?;
        Ok(device.read::<f32>(&x)?[9])
    };
    assert_eq!(run(&mut device)?, 3.0);
    fs::write(&file, built_in)?;
    assert_eq!(device.reload_shaders()?, ["scale"]);
    assert_eq!(run(&mut device)?, 2.0);
    assert!(device.reload_shaders()?.is_empty(), "nothing was written since");
    fs::write(&file, &broken)?;
    let error = device.reload_shaders().err().ok_or("a broken shader was taken")?.to_string();
    assert!(error.contains(&place), "{error}");
    assert_eq!(run(&mut device)?, 2.0);

    // Automatically, shortly after the file was written.
    fs::write(&file, &raised)?;
    let end = Instant::now() + Duration::from_mins(1);
    while run(&mut device)? != 3.0 {
        assert!(Instant::now() < end, "the shader is not followed");
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
