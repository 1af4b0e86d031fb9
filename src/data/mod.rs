//! Text to tokens to batches. Takes `impl Read`; opens no file itself.
