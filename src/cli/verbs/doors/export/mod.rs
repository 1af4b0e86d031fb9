//! `danlu export`: models, logs and data in the forms of other tools.

mod card;
mod trl;

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;

use super::source;
use crate::{
    base::{StageId, shell},
    cli::{Common, Failure, Outcome, common::pair, output},
    protocol::Monitor,
    store::{
        Existing, GgufDtype, Kind, NewFile, RUNS, RealFs, Run, RunView, export_files, export_folder, gguf_len,
        may_write, newest_run, write_gguf,
    },
    train::{
        Corpus, TrainError,
        config::RunConfig,
        export::{GgufModel, MetricsForm, dataset, folder, metrics},
    },
};

/// Write a model as GGUF (llama.cpp, Ollama) or as a clean Hugging Face folder, a run's logs or data, or a stage for TRL
#[derive(Args)]
pub(in crate::cli) struct Export {
    /// A run's folder. Default: the newest in ./runs
    #[arg(long, conflicts_with = "model")]
    run: Option<PathBuf>,
    /// The stage whose checkpoint is exported. Default: the furthest that speaks
    #[arg(long, conflicts_with = "model")]
    stage: Option<StageId>,
    /// The step of the checkpoint. Default: the newest
    #[arg(long, requires = "stage")]
    step: Option<u64>,
    /// A model's folder instead of a run
    #[arg(long)]
    model: Option<PathBuf>,
    /// A GGUF file for llama.cpp, with an Ollama Modelfile beside it
    #[arg(long, value_name = "FILE")]
    gguf: Option<PathBuf>,
    /// Type of the matrices in the GGUF file: f32, f16, bf16, q8_0
    #[arg(long, default_value = "f16")]
    dtype: String,
    /// A folder that transformers, vLLM and MLX open, with a model card
    #[arg(long, value_name = "DIR")]
    hf: Option<PathBuf>,
    /// The run's metrics: an event file of TensorBoard or a CSV file for each stage
    #[arg(long, value_enum)]
    metrics: Option<Form>,
    /// The run's data: token ids as .npy, conversations and preferences as messages
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// A stage for another trainer, on any number of GPUs: its model, the rows that danlu would draw, a script
    #[arg(long = "for", value_enum, value_name = "TRAINER", requires = "stage")]
    trainer: Option<TrainerName>,
    /// Of --for: train up to this step; when the stage is already there, this many steps more
    #[arg(long, requires = "trainer")]
    steps: Option<usize>,
    /// Of --for: a key of run.toml with another value, such as sft.batch_size=16
    #[arg(long, value_parser = pair, requires = "trainer")]
    set: Vec<(String, String)>,
    /// Folder for --for, and for --metrics (default: <run>-csv or <run>-tensorboard)
    out: Option<PathBuf>,
    /// Overwrite what exists
    #[arg(long)]
    force: bool,
    /// One JSON object: what was written
    #[arg(long)]
    json: bool,
}

/// The trainers of `--for`.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum TrainerName {
    /// transformers, TRL and accelerate under torchrun
    Trl,
}

/// The forms of `--metrics`.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    Tensorboard,
    Csv,
}

impl Export {
    pub(in crate::cli::verbs) fn run(&self, common: &Common) -> Outcome {
        if self.out.is_some() && self.metrics.is_none() && self.trainer.is_none() {
            return Err(Failure::usage("only --metrics and --for take a folder after the options"));
        }
        match (&self.gguf, &self.hf, self.metrics, &self.data, self.trainer) {
            (Some(file), None, None, None, None) => self.gguf(file),
            (None, Some(dir), None, None, None) => self.hf(dir, common),
            (None, None, Some(form), None, None) => self.metrics(form),
            (None, None, None, Some(dir), None) => self.data(dir),
            (None, None, None, None, Some(TrainerName::Trl)) => self.hand_over(common),
            _ => Err(Failure::usage(
                "give one of --gguf FILE, --hf DIR, --metrics tensorboard|csv, --data DIR and --for trl --stage S OUT",
            )),
        }
    }

    fn existing(&self) -> Existing {
        if self.force { Existing::Replace } else { Existing::Refuse }
    }

    /// The folder of the model.
    fn folder(&self) -> Result<PathBuf, Failure> {
        match &self.model {
            Some(model) => Ok(model.clone()),
            None => source::folder(self.run.as_deref(), self.stage, self.step),
        }
    }

    /// The run for what only a run has.
    fn view(&self, what: &str) -> Result<RunView, Failure> {
        if self.model.is_some() {
            return Err(Failure::usage(format!(
                "--model is a model's folder and has no {what}; name a run with --run"
            )));
        }
        let run = match &self.run {
            Some(run) => run.clone(),
            None => newest_run(&RealFs, Path::new(RUNS))
                .map_err(TrainError::from)?
                .ok_or_else(|| Failure::usage("no run in ./runs; name one with --run"))?,
        };
        Ok(RunView::open(RealFs::shared(), &run).map_err(TrainError::from)?)
    }

    fn gguf(&self, file: &Path) -> Outcome {
        let Some(dtype) = GgufDtype::ALL.into_iter().find(|dtype| dtype.name() == self.dtype) else {
            return Err(Failure::usage(format!("--dtype is {:?}; expected f32, f16, bf16 or q8_0", self.dtype)));
        };
        let name = named(file)?;
        let beside = file.with_extension("Modelfile");
        // On some systems the case of a name does not count.
        if file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("Modelfile")) {
            return Err(Failure::usage(format!(
                "{}: the Modelfile of Ollama gets this name; name the GGUF file otherwise, such as model.gguf",
                file.display()
            )));
        }
        let dir = above(file);
        if !dir.is_dir() {
            return Err(Failure::usage(format!("{}: there is no such folder to write into; create it", dir.display())));
        }
        spares_runs(file)?;
        // Before the model is read: it may take a while.
        for path in [file, &beside] {
            may_write(&RealFs, path, Kind::File, self.existing()).map_err(TrainError::from)?;
        }
        let from = self.folder()?;
        let title = from.file_name().map_or_else(|| "model".to_owned(), |name| name.to_string_lossy().into_owned());
        let model = GgufModel::read(&from, &title, dtype)?;
        model.notes.iter().for_each(|note| output::note(note));
        let tensors = model.tensors();
        let bytes = gguf_len(&model.pairs, &tensors);
        let (pairs, list) = (&model.pairs, &tensors);
        let files = vec![
            NewFile::writer(&name, bytes, move |to| write_gguf(to, pairs, list)),
            NewFile::bytes(&named(&beside)?, model.modelfile(&name)),
        ];
        export_files(&RealFs, dir, files, self.existing()).map_err(TrainError::from)?;
        if self.json {
            output::json(&json!({
                "gguf": file.to_string_lossy(), "modelfile": beside.to_string_lossy(), "model": from.to_string_lossy(),
                "dtype": dtype.name(), "tensors": tensors.len(), "bytes": bytes,
            }));
            return Ok(());
        }
        output::text(&format!("{}: {bytes} bytes, {} tensors, {}", file.display(), tensors.len(), dtype.name()));
        output::text(&format!("llama.cpp: llama-cli -m {}", shell::path(file)));
        output::text(&format!("Ollama:    ollama create {} -f {}", shell::word(&stem(file)), shell::path(&beside)));
        Ok(())
    }

    fn hf(&self, dir: &Path, common: &Common) -> Outcome {
        self.may_make(dir)?;
        let from = self.folder()?;
        let mut files = folder(&from)?;
        let run = match &self.model {
            Some(_) => None,
            // A checkpoint lies in checkpoints/ of its run.
            None => from.ancestors().nth(2).map(Path::to_owned),
        };
        files.push(NewFile::bytes("README.md", card::card(&from, run.as_deref(), &stem(dir), common.language())?));
        self.write_folder(dir, files)
    }

    fn metrics(&self, form: Form) -> Outcome {
        let view = self.view("logs")?;
        let (form, ending) = match form {
            Form::Csv => (MetricsForm::Csv, "csv"),
            Form::Tensorboard => (MetricsForm::TensorBoard, "tensorboard"),
        };
        let dir = self.out.clone().unwrap_or_else(|| PathBuf::from(format!("{}-{ending}", view.name())));
        self.may_make(&dir)?;
        self.write_folder(&dir, metrics(&view, form)?)
    }

    fn data(&self, dir: &Path) -> Outcome {
        self.may_make(dir)?;
        let view = self.view("data")?;
        let config = RunConfig::parse(&view.config().map_err(TrainError::from)?, &[], StageId::Pretrain)
            .map_err(TrainError::from)?;
        let vocab_size = config.model().map_err(TrainError::from)?.vocab_size;
        // Text that was not prepared yet is prepared in the run's folder, which only its owner may do.
        let run = Run::open(RealFs::shared(), view.dir()).map_err(TrainError::from)?;
        let corpus = Corpus::load(&config, &run, &view.data_dir(), vocab_size, false, &Monitor::default())?;
        corpus.notes.iter().for_each(|note| output::note(note));
        self.write_folder(dir, dataset(&run, &config, &corpus)?)
    }

    /// Fails if a folder may not be written here.
    fn may_make(&self, dir: &Path) -> Outcome {
        spares_runs(dir)?;
        Ok(may_write(&RealFs, dir, Kind::Dir, self.existing()).map_err(TrainError::from)?)
    }

    fn write_folder(&self, dir: &Path, files: Vec<NewFile<'_>>) -> Outcome {
        let names: Vec<String> = files.iter().map(|file| file.name().to_owned()).collect();
        let bytes: u64 = files.iter().map(NewFile::len).sum();
        export_folder(&RealFs, &whole(dir)?, files, self.existing()).map_err(TrainError::from)?;
        if self.json {
            output::json(&json!({"folder": dir.to_string_lossy(), "files": names, "bytes": bytes}));
        } else {
            output::text(&format!("{}: {} files, {bytes} bytes", dir.display(), names.len()));
        }
        Ok(())
    }
}

/// The name of a file to write, which must be one that every system takes.
fn named(file: &Path) -> Result<String, Failure> {
    file.file_name()
        .and_then(|name| name.to_str())
        .map(str::to_owned)
        .ok_or_else(|| Failure::usage(format!("{} names no file; give a name such as model.gguf", file.display())))
}

/// Refuses to write into the parts of a run that only training changes, and over its files.
fn spares_runs(path: &Path) -> Outcome {
    // The path with the links of what exists of it resolved.
    let there = path.ancestors().find_map(|above| {
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        Some((above.canonicalize().ok()?, path.strip_prefix(above).unwrap_or(path)))
    });
    let Some((above, below)) = there else { return Ok(()) };
    // An empty part would end the path of a file with a slash.
    let whole = if below.as_os_str().is_empty() { above } else { above.join(below) };
    let wrong = |what: String| Err(Failure::usage(format!("{}: {what}", path.display())));
    for run in whole.ancestors().skip(1).filter(|dir| dir.join("run.toml").is_file()) {
        let within = whole.strip_prefix(run).unwrap_or(&whole);
        let first = within.iter().next().unwrap_or_default().to_string_lossy();
        if matches!(first.as_ref(), "data" | "checkpoints") {
            return wrong(format!(
                "{first}/ of the run {} is changed by training only; choose another place",
                run.display()
            ));
        }
        let exported = within.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gguf"));
        if within.iter().count() == 1 && whole.is_file() && !exported {
            return wrong(format!("it is a file of the run {}; choose another name", run.display()));
        }
    }
    Ok(())
}

/// The path of a folder to write with a name at its end. The folder that the user is in is not replaced: it would be
/// empty there.
fn whole(dir: &Path) -> Result<PathBuf, Failure> {
    let wrong = |what: &str| Err(Failure::usage(format!("{}: {what}", dir.display())));
    if !dir.is_dir() {
        return if dir.file_name().is_some() {
            Ok(dir.to_owned())
        } else {
            wrong("it names no folder; give a name such as model")
        };
    }
    let Ok(whole) = dir.canonicalize() else { return Ok(dir.to_owned()) };
    if std::env::current_dir().is_ok_and(|here| here.starts_with(&whole)) {
        return wrong(
            "you are in this folder, and it is replaced as a whole; go to another one first, or choose another folder",
        );
    }
    Ok(whole)
}

fn above(file: &Path) -> &Path {
    file.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn stem(file: &Path) -> String {
    file.file_stem().map_or_else(|| "model".to_owned(), |stem| stem.to_string_lossy().into_owned())
}
