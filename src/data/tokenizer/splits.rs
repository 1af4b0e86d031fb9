//! llama.cpp's names for the ways in which published tokenizers split texts into words.

use serde_json::Value;

/// SentencePiece's sign for a space.
const SPACE: &str = "\u{2581}";

/// A split of texts into words as llama.cpp has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Split {
    /// Its name there.
    pub name: &'static str,
    /// Whether a word that is a token is taken as it is there, whatever the merges make of it.
    pub ignores_merges: bool,
}

/// GPT-2's pattern, which ByteLevel has built in.
const GPT2: [&str; 2] = [
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
];
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// The same words by another pattern.
const GPT4: &str =
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";
/// Three digits, before MiniCPM's pattern or the others of DeepSeek.
const DIGITS: &str = r"\p{N}{1,3}";

/// Sequences of patterns with llama.cpp's names; `tests/golden/imported.json` has the figures of each. GPT-4o's and
/// Tekken's are not here: llama.cpp's versions of them treat combining marks otherwise. DeepSeek Coder's is not, since
/// llama.cpp treats spaces before a symbol otherwise.
const PATTERNS: [(&[&str], &str); 7] = [
    (
        &[
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
        "qwen2",
    ),
    (
        &[
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
        "qwen35",
    ),
    (
        &[r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+"],
        "bailingmoe",
    ),
    (
        &[
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
        "seed-coder",
    ),
    (
        &[
            DIGITS,
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
        ],
        "minicpm5",
    ),
    (
        &[
            DIGITS,
            "[一-龥\u{3040}-ゟ゠-ヿ]+",
            r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##,
        ],
        "deepseek-v3",
    ),
    (&[r" ?[^(\s|[.,!?…。，、।۔،])]+"], "bloom"),
];

const UNNAMED: &str = "it splits texts into words in a way that is none of GPT-2's, GPT-4's, Llama 3's, Qwen2's, Qwen3.5's, Ling's, Seed-Coder's, MiniCPM5's, DeepSeek V3's, SmolLM's, Falcon's and BLOOM's; GGUF files name such ways, so use the Hugging Face folder";

fn kind(part: &Value) -> &str {
    part["type"].as_str().unwrap_or_default()
}

/// The parts of a sequence, or the part itself.
fn parts<'a>(part: Option<&'a Value>, list: &str) -> Vec<&'a Value> {
    match part {
        None | Some(Value::Null) => Vec::new(),
        Some(part) if kind(part) == "Sequence" => {
            part[list].as_array().map(|all| all.iter().collect()).unwrap_or_default()
        }
        Some(part) => vec![part],
    }
}

/// Whether a tokenizer with byte tokens puts a space before a text: those of danlu do not, Llama 2's do.
pub(super) fn space_prefix(normalizer: Option<&Value>, pre_tokenizer: Option<&Value>) -> Result<bool, String> {
    let (normal, words) = (parts(normalizer, "normalizers"), parts(pre_tokenizer, "pretokenizers"));
    let spaces = |part: &Value| kind(part) == "Replace" && part["pattern"]["String"] == " " && part["content"] == SPACE;
    match (normal.as_slice(), words.as_slice()) {
        ([], []) => Ok(false),
        ([prepend, replace], []) if kind(prepend) == "Prepend" && prepend["prepend"] == SPACE && spaces(replace) => Ok(true),
        ([replace], []) if spaces(replace) => Ok(false),
        ([], [words]) if kind(words) == "Metaspace" && words["replacement"] == SPACE && words["split"] != true => {
            match words["prepend_scheme"].as_str() {
                Some("never") => Ok(false),
                _ => Err("its Metaspace puts a space before a text that begins without one; llama.cpp puts one before every text, so use the Hugging Face folder".to_owned()),
            }
        }
        _ => Err("its normalizer or pre-tokenizer is neither danlu's nor Llama 2's; GGUF files have no name for it, so use the Hugging Face folder".to_owned()),
    }
}

/// Whether the normalizer of a byte-level tokenizer composes texts.
pub(super) fn composes(normalizer: Option<&Value>) -> Result<bool, String> {
    let normal = parts(normalizer, "normalizers");
    match normal.iter().find(|part| kind(part) != "NFC") {
        Some(part) => {
            Err(format!("its normalizer {} has no counterpart in GGUF files; use the Hugging Face folder", kind(part)))
        }
        None => Ok(!normal.is_empty()),
    }
}

/// llama.cpp's split of texts for the pre-tokenizer of a byte-level tokenizer; `ignores` merges if a word is a token.
pub(super) fn split(pre_tokenizer: Option<&Value>, ignores: bool) -> Result<Split, String> {
    let named = |name| Ok(Split { name, ignores_merges: false });
    let words = parts(pre_tokenizer, "pretokenizers");
    if words.iter().any(|part| kind(part) == "ByteLevel" && part["add_prefix_space"] == true) {
        return Err("it puts a space before every text (add_prefix_space), which llama.cpp does not do for byte-level tokenizers; use the Hugging Face folder".to_owned());
    }
    let level = |part: &Value, regex: bool| kind(part) == "ByteLevel" && (part["use_regex"] != false) == regex;
    let pattern = |part: &Value| {
        let isolated = kind(part) == "Split" && part["behavior"] == "Isolated" && part["invert"] != true;
        // Some files contain line ends literally where others have escapes.
        let pattern = part["pattern"]["Regex"].as_str().filter(|_| isolated)?;
        Some(pattern.replace('\r', r"\r").replace('\n', r"\n"))
    };
    let digits =
        |part: &Value, individual: bool| kind(part) == "Digits" && (part["individual_digits"] == true) == individual;
    match words.as_slice() {
        [one] if level(one, true) => return named("gpt-2"),
        [first, last] if digits(first, true) && level(last, true) => return named("smollm"),
        [marks, words, numbers, threes]
            if kind(marks) == "Punctuation"
                && marks["behavior"] == "Contiguous"
                && level(words, true)
                && digits(numbers, false)
                && pattern(threes).as_deref() == Some("[0-9][0-9][0-9]") =>
        {
            return named("falcon");
        }
        _ => {}
    }
    let Some((_, first)) = words.split_last().filter(|(last, _)| level(last, false)) else {
        return Err(UNNAMED.to_owned());
    };
    let patterns: Option<Vec<String>> = first.iter().map(|part| pattern(part)).collect();
    let patterns = patterns.ok_or(UNNAMED)?;
    let is = |known: &[&str]| patterns.iter().map(String::as_str).eq(known.iter().copied());
    if GPT2.iter().any(|known| is(&[known])) {
        return named("gpt-2");
    }
    if is(&[LLAMA3]) || is(&[GPT4]) {
        // Two names for one pattern.
        let name = if ignores { "llama-bpe" } else { "smaug-bpe" };
        return Ok(Split { name, ignores_merges: ignores });
    }
    match PATTERNS.iter().find(|(known, _)| is(known)) {
        Some((_, name)) => Ok(Split { name, ignores_merges: *name == "minicpm5" }),
        None => Err(UNNAMED.to_owned()),
    }
}
