//! The source text of shaders: the files of `shaders/`, compiled into the binary, or a folder named by a developer.

use std::{
    borrow::Cow,
    fs,
    path::PathBuf,
    time::{Duration, Instant, SystemTime},
};

/// Time between two checks of a folder.
const PAUSE: Duration = Duration::from_millis(250);

/// The shader sources of a device.
#[derive(Debug, Default)]
pub(in crate::compute) struct Sources {
    /// A folder with files that override the built-in ones of the same name.
    folder: Option<PathBuf>,
    /// The last check of the folder, and its newest file at that time.
    seen: Option<(Instant, Option<SystemTime>)>,
}

impl Sources {
    /// With the files of a folder, or the built-in ones only.
    pub(in crate::compute) fn new(folder: Option<PathBuf>) -> Sources {
        Sources { folder, seen: None }
    }

    /// Whether sources may change.
    pub(in crate::compute) fn watched(&self) -> bool {
        self.folder.is_some()
    }

    /// Whether a file of the folder was written since the last check; checks at intervals.
    pub(in crate::compute) fn changed(&mut self) -> bool {
        let Some(folder) = &self.folder else { return false };
        if self.seen.is_some_and(|(at, _)| at.elapsed() < PAUSE) {
            return false;
        }
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        let newest = files.filter_map(|file| file.metadata().ok()?.modified().ok()).max();
        let before = self.seen.replace((Instant::now(), newest));
        before.is_some_and(|(_, before)| before != newest)
    }

    /// The text of `{name}.wgsl`, and its file.
    pub(super) fn text(&self, name: &str) -> Result<(Cow<'static, str>, String), String> {
        if let Some(file) = self.folder.as_ref().map(|folder| folder.join(name).with_extension("wgsl")) {
            match fs::read_to_string(&file) {
                Ok(text) => return Ok((Cow::Owned(text), file.display().to_string())),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => return Err(format!("{} cannot be read: {e}", file.display())),
            }
        }
        let found = SOURCES.iter().find(|(n, _)| *n == name);
        let (_, text) = found.ok_or_else(|| format!("there is no shader {name}"))?;
        Ok((Cow::Borrowed(text), format!("shaders/{name}.wgsl")))
    }
}

macro_rules! sources {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../../shaders/", $name, ".wgsl")))),*]
    };
}

static SOURCES: &[(&str, &str)] = sources![
    "act",
    "adamw",
    "attention",
    "attention_backward_kv",
    "attention_backward_q",
    "attention_coop",
    "attention_coop_backward_kv",
    "attention_coop_backward_q",
    "attention_coop_forward",
    "attention_delta",
    "attention_forward",
    "attention_row",
    "attention_step",
    "attention_wide",
    "attention_wide_backward_kv",
    "attention_wide_backward_q",
    "attention_wide_forward",
    "begins",
    "cross_entropy",
    "decode",
    "dropout",
    "elementwise",
    "embedding",
    "entropy",
    "epilogue_float",
    "epilogue_half",
    "epilogue_rope",
    "epilogue_swiglu",
    "epilogue_swiglu_backward",
    "matmul",
    "matmul_coop",
    "matmul_few",
    "mlp_row",
    "reduce",
    "rmsnorm",
    "rmsnorm_backward_wide",
    "rng",
    "rope",
    "row_product",
    "sample",
    "swiglu",
    "workgroup_sum",
];
