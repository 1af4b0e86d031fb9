//! Adds the tokens of a conversation to an imported tokenizer.

use serde_json::{Value, json};

use super::{ASSISTANT, END_OF_TEXT, NAMED, PAD, SYSTEM, TURN_END, Tokenizer, USER};
use crate::data::error::DataError;

impl Tokenizer {
    /// The tokenizer with the four tokens of a conversation, an EOS and a PAD: missing ones are appended as special
    /// tokens, with ids from [`Self::vocab_size`] on. Existing ids and encodings do not change. A tokenizer that lacks
    /// none is returned unchanged. danlu's chat template takes the place of the model's own.
    pub fn with_chat(&self) -> Result<Self, DataError> {
        self.with_template(false)
    }

    /// The same, but with `own` a model that has its own chat template keeps it and gets only EOS and PAD.
    pub fn with_template(&self, own: bool) -> Result<Self, DataError> {
        let own = self.own_template().filter(|_| own);
        let end = self.end_of_text().is_none().then_some(END_OF_TEXT);
        let pad = self.pad().is_none().then_some(PAD);
        let turns: &[&str] = if own.is_some() { &[] } else { &[TURN_END, SYSTEM, USER, ASSISTANT] };
        let is_special = |token: &str| self.id(token).is_some_and(|id| self.is_special(id));
        let missing: Vec<&str> =
            end.into_iter().chain(pad).chain(turns.iter().copied().filter(|t| !is_special(t))).collect();
        if missing.is_empty() && own.is_some() == self.own_template().is_some() {
            return Ok(self.clone());
        }
        // EOS and PAD are those of the config, else the new ones.
        let name = |id: Option<u32>, new: &str| id.and_then(|id| self.token(id)).unwrap_or(new).to_owned();
        let mut config = json!({
            "eos_token": name(self.end_of_text(), END_OF_TEXT),
            "pad_token": name(self.pad(), PAD),
        });
        if let Some(bos) = self.begin_of_text().and_then(|id| self.token(id)) {
            config["bos_token"] = bos.into();
        }
        if let Some(template) = own {
            for (name, token) in template.tokens().iter().filter(|(name, _)| !NAMED.contains(&name.as_str())) {
                config[name.as_str()] = token.as_str().into();
            }
            config["chat_template"] = template.source().into();
        }
        let config = config.to_string();
        let as_before = self.0.edges.as_before;
        let file: Value = serde_json::from_str(self.json())
            .map_err(|e| DataError::Tokenizer(format!("its file does not parse: {e}")))?;
        let grown = match Self::read(&self.appended(file.clone(), &missing, false)?, Some(&config), as_before) {
            Ok(grown) => grown,
            // The crate numbers added tokens from the number of tokens, which in a vocabulary with gaps is an id in
            // use; in that case the new tokens get their ids from the vocabulary.
            Err(_) => Self::read(&self.appended(file, &missing, true)?, Some(&config), as_before)?,
        };
        for token in missing {
            let taken = grown.id(token).is_none_or(|id| !grown.is_special(id));
            if taken || grown.encode(token)?.iter().any(|id| grown.is_special(*id)) {
                return Err(DataError::Tokenizer(format!(
                    "{token:?} cannot become a special token: ordinary text can contain it; use a tokenizer without it"
                )));
            }
        }
        Ok(grown)
    }

    /// The file with more special tokens, which may have to be added to the vocabulary too.
    fn appended(&self, mut file: Value, tokens: &[&str], in_vocabulary: bool) -> Result<String, DataError> {
        let mut next = self.vocab_size() as u32;
        let mut vocabulary = Vec::new();
        let Some(Value::Array(added)) = file.get_mut("added_tokens") else {
            return Err(DataError::Tokenizer("its file has no list of added tokens".into()));
        };
        for token in tokens {
            let id = self.id(token).unwrap_or_else(|| {
                vocabulary.push((token.to_string(), Value::from(next)));
                next += 1;
                next - 1
            });
            // An existing token that is not special becomes special.
            added.retain(|a| a.get("content").and_then(Value::as_str) != Some(*token));
            added.push(json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}));
        }
        added.sort_by_key(|a| a.get("id").and_then(Value::as_u64));
        if in_vocabulary && let Some(Value::Object(vocab)) = file.pointer_mut("/model/vocab") {
            vocab.extend(vocabulary);
        }
        Ok(file.to_string())
    }
}
