//! Mutations of valid examples that keep most of their structure, so that more of a parser than its first check is
//! reached.

use serde_json::Value;

use super::texts::Chance;

/// Values that no honest writer puts where another type is expected. The last ones cannot be a `Value` and are inserted
/// into the text.
const VALUES: &[&str] = &[
    "null",
    "true",
    "false",
    "-1",
    "0",
    "1",
    "2",
    "3",
    "7",
    "255",
    "256",
    "65535",
    "65536",
    "1048576",
    "1048577",
    "2147483647",
    "2147483648",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "-9223372036854775808",
    "0.5",
    "-0.0",
    "1e-320",
    "1e38",
    "1e39",
    "1e308",
    "-1e308",
    "\"\"",
    "\"x\"",
    "\"\\u0000\"",
    "\"\\u001b[31m\"",
    "\"\\u202e\"",
    "\"NaN\"",
    "\"../x\"",
    "\"/dev/zero\"",
    "\"春\"",
    "\"\\ud83d\\ude00\"",
    "[]",
    "{}",
    "[[]]",
    "{\"a\":1}",
    "[1,2,3,4,5]",
    "\"Sequence\"",
    "\"Replace\"",
    "\"F32\"",
    "\"I64\"",
    "\"LlamaForCausalLM\"",
];
const RAW: &[&str] =
    &["18446744073709551616", "1e999", "-1e999", "NaN", "00", "1.", "\"\\ud800\"", "'x'", "0x10", "1e-99999"];
const TOKENS: &[&[u8]] = &[
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b":",
    b",",
    b"\\",
    b"\0",
    b"\xff",
    b"\xfe\xff",
    b"\xef\xbb\xbf",
    b"-",
    b"1e9999",
    b"null",
    b"\n",
    b"\r\n",
    b"\r",
    b"[[",
    b"\"\"\"",
    b"'''",
    b"=",
    b"#",
    b"[a.b.c]",
    b"\x1b[31m",
    b"\xf0\x9f",
    b"<0x00>",
    b"\t",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
];
const MARK: &str = "\u{1}raw";

/// Mutates any bytes.
pub(crate) fn bytes(of: &[u8], chance: &mut Chance) -> Vec<u8> {
    let mut b = of.to_vec();
    for _ in 0..*chance.of(&[1, 1, 2, 4, 16]) {
        if b.is_empty() {
            b.push(b'x');
        }
        // The beginning and the end often describe the rest.
        let at = match chance.below(4) {
            0 => chance.below(b.len().min(64)),
            1 => b.len() - 1 - chance.below(b.len().min(96)),
            _ => chance.below(b.len()),
        };
        let some = |chance: &mut Chance, b: &[u8]| (at + chance.of(&[1, 2, 8, 100, 1000])).min(b.len());
        match chance.below(9) {
            0 => b[at] ^= 1 << chance.below(8),
            1 => b[at] = chance.next() as u8,
            2 => drop(b.drain(at..some(chance, &b))),
            3 => drop(b.splice(at..at, chance.of(TOKENS).iter().copied())),
            4 => {
                let piece = b[at..some(chance, &b)].repeat(*chance.of(&[1, 2, 50]));
                b.splice(at..at, piece);
            }
            5 | 6 => {
                let number = *chance.of(&[0, 1, 0xffff_ffff, 1 << 31, 1 << 32, 1 << 63, u64::MAX, 0x7fff_ffff]);
                let wide = (at + *chance.of(&[4, 8])).min(b.len());
                let number = number.to_le_bytes();
                let n = wide - at;
                b[at..wide].copy_from_slice(&number[..n]);
            }
            7 => b.truncate(at),
            _ => {
                let noise: Vec<u8> = (0..chance.below(50)).map(|_| chance.next() as u8).collect();
                b.splice(at..at, noise);
            }
        }
    }
    b.truncate(2_000_000);
    b
}

/// A nested value; shallow ones are more likely.
fn pick<'a>(value: &'a mut Value, chance: &mut Chance) -> &'a mut Value {
    let children = match value {
        Value::Object(map) => map.len(),
        Value::Array(list) => list.len(),
        _ => 0,
    };
    if children == 0 || chance.percent(25) {
        return value;
    }
    let at = chance.below(children);
    match value {
        Value::Object(map) => pick(map.values_mut().nth(at).expect("below its length"), chance),
        Value::Array(list) => pick(&mut list[at], chance),
        scalar => scalar,
    }
}

fn deep(levels: usize) -> Value {
    (0..levels).fold(Value::from(1), |inner, _| Value::Array(vec![inner]))
}

fn replacement(all: &Value, chance: &mut Chance) -> Value {
    match chance.below(12) {
        0 => Value::from(format!("{MARK}{}", chance.below(RAW.len()))),
        1 => deep(*chance.of(&[5, 120, 130, 300])),
        2 => Value::from("a".repeat(*chance.of(&[100, 5000]))),
        3 => Value::from(vec![0; 1000]),
        4 => pick(&mut all.clone(), chance).clone(),
        _ => serde_json::from_str(chance.of::<&str>(VALUES)).unwrap_or_default(),
    }
}

fn change(value: &mut Value, all: &Value, chance: &mut Chance) {
    match (chance.below(10), &mut *value) {
        (0, Value::Object(map)) if !map.is_empty() => {
            let key = map.keys().nth(chance.below(map.len())).cloned().unwrap_or_default();
            map.remove(&key);
        }
        (1, Value::Object(map)) => {
            let key = *chance.of(&["x", "", "type", "content", "\u{1b}", "__metadata__", "labels", "vocab"]);
            map.insert(key.to_owned(), replacement(all, chance));
        }
        (2, Value::Array(list)) if !list.is_empty() => drop(list.remove(chance.below(list.len()))),
        (3, Value::Array(list)) if !list.is_empty() => {
            let twin = list[chance.below(list.len())].clone();
            let times = *chance.of(&[1, 2, 30]);
            list.extend(std::iter::repeat_n(twin, times));
        }
        (4 | 5, Value::Number(number)) => {
            let times = *chance.of(&[-1.0, 2.0, 10.0, 1000.0, 1_048_576.0, 0.1]);
            let number = number.as_f64().unwrap_or_default() * times;
            *value = if number.fract() == 0.0 && number.abs() < 1e15 {
                Value::from(number as i64)
            } else {
                Value::from(number)
            };
        }
        _ => *value = replacement(all, chance),
    }
}

/// JSON with a mutated structure, sometimes with mutated bytes too.
pub(crate) fn json(of: &[u8], chance: &mut Chance) -> Vec<u8> {
    let Ok(mut value) = serde_json::from_slice::<Value>(of) else { return bytes(of, chance) };
    for _ in 0..*chance.of(&[1, 1, 1, 2, 3, 6]) {
        let all = value.clone();
        change(pick(&mut value, chance), &all, chance);
    }
    let mut text = value.to_string();
    for (at, raw) in RAW.iter().enumerate() {
        text = text.replace(&format!("\"\\u0001raw{at}\""), raw);
    }
    if chance.percent(15) { bytes(text.as_bytes(), chance) } else { text.into_bytes() }
}

/// Mutates one line of JSON Lines, or any bytes.
pub(crate) fn json_lines(of: &[u8], chance: &mut Chance) -> Vec<u8> {
    if chance.percent(35) {
        return bytes(of, chance);
    }
    let mut lines: Vec<Vec<u8>> = of.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
    let at = chance.below(lines.len());
    lines[at] = json(&lines[at], chance);
    lines.join(&b'\n')
}

/// Mutates lines of TOML.
pub(crate) fn toml(of: &[u8], chance: &mut Chance) -> Vec<u8> {
    const RIGHT: &[&str] = &[
        "-1",
        "0",
        "1",
        "9223372036854775807",
        "9223372036854775808",
        "1e308",
        "-1e308",
        "nan",
        "inf",
        "-inf",
        "\"\"",
        "\"x\"",
        "[]",
        "{}",
        "true",
        "1e-320",
        "0.5",
        "[[[[]]]]",
        "{a={b={}}}",
        "\"\\u001b[31m\"",
        "1979-05-27",
        "\"../../etc/passwd\"",
        "\"/dev/zero\"",
        "\"**/**/**\"",
        "2147483648",
        "65536",
        "1048577",
        "1048576",
        "'''\n",
        "\"\"\"",
    ];
    const LINES: &[&str] = &[
        "[model]",
        "[[source]]",
        "[pretrain]",
        "[mix]",
        "[[probe]]",
        "[quality]",
        "seed=-1",
        "\0",
        "\"\\ud800\"=1",
        "a.b.c.d=1",
        "[[[[",
        "size=\"124m\"",
        "[sampling]\nmax_new_tokens=18446744073709551615",
        "[model]\nhead_dim=256\nnum_attention_heads=1024",
        "[guard]\nkl=nan",
        "[pretrain]\nsteps=1\nlearning_rate=1e300",
    ];
    let text = String::from_utf8_lossy(of).into_owned();
    let mut lines: Vec<String> = text.split('\n').map(str::to_owned).collect();
    for _ in 0..*chance.of(&[1, 1, 2, 3]) {
        let at = chance.below(lines.len());
        match chance.below(10) {
            0..=4 => {
                if let Some((key, _)) = lines[at].clone().split_once('=') {
                    lines[at] = format!("{key}={}", chance.of(RIGHT));
                }
            }
            5 => {
                let twin = chance.of(&lines).clone();
                lines.insert(at, twin);
            }
            6 => {
                lines.remove(at);
                if lines.is_empty() {
                    lines.push(String::new());
                }
            }
            7 | 8 => lines.insert(at, (*chance.of(LINES)).to_owned()),
            _ => return bytes(lines.join("\n").as_bytes(), chance),
        }
    }
    lines.join("\n").into_bytes()
}

/// A safetensors file with a mutated header, whose length is mostly correct.
pub(crate) fn safetensors(of: &[u8], chance: &mut Chance) -> Vec<u8> {
    let length = of.first_chunk().map_or(0, |b| u64::from_le_bytes(*b)) as usize;
    let Some(header) = of.get(8..8 + length).filter(|_| chance.percent(70)) else { return bytes(of, chance) };
    let mut header = json(header, chance);
    if chance.percent(70) {
        while !header.len().is_multiple_of(8) {
            header.push(b' ');
        }
    }
    let told = if chance.percent(90) { header.len() as u64 } else { *chance.of(&[0, 1 << 24, 1 << 63, u64::MAX]) };
    [&told.to_le_bytes()[..], &header, &of[8 + length..]].concat()
}
