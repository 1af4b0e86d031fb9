//! Copies to the clipboard of the terminal by OSC 52, which also works over SSH.

use std::io;

use crossterm::{clipboard::CopyToClipboard, execute};

/// The longest text in bytes: what 100,000 characters of Base64 hold, the limit of xterm and others.
pub(crate) const LONGEST_COPY: usize = 74_994;

/// Asks the terminal to put a text into its clipboard; it never answers whether it did.
pub(crate) fn copy(text: &str) -> io::Result<()> {
    execute!(io::stdout(), CopyToClipboard::to_clipboard_from(text))
}
