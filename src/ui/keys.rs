//! Keys and the mouse as `update` receives them, independent of the terminal crate, so that tests can construct them.

use std::fmt;

use crate::base::fold::half_width;

/// Which key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// A character; shift is already applied.
    Char(char),
    /// Enter.
    Enter,
    /// Escape.
    Esc,
    /// Tab.
    Tab,
    /// Tab with shift.
    BackTab,
    /// Backspace.
    Backspace,
    /// Delete.
    Delete,
    /// Left.
    Left,
    /// Right.
    Right,
    /// Up.
    Up,
    /// Down.
    Down,
    /// Home.
    Home,
    /// End.
    End,
    /// Page up.
    PageUp,
    /// Page down.
    PageDown,
    /// A function key.
    F(u8),
}

/// A key with its modifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Which key.
    pub code: Code,
    /// With Ctrl.
    pub ctrl: bool,
    /// With Alt.
    pub alt: bool,
}

impl Key {
    /// A key without modifiers.
    pub const fn plain(code: Code) -> Key {
        Key { code, ctrl: false, alt: false }
    }

    /// A character.
    pub const fn char(c: char) -> Key {
        Key::plain(Code::Char(c))
    }

    /// A character with Ctrl.
    pub const fn ctrl(c: char) -> Key {
        Key { code: Code::Char(c), ctrl: true, alt: false }
    }

    /// A key with Alt.
    pub const fn alt(code: Code) -> Key {
        Key { code, ctrl: false, alt: true }
    }

    /// The character this key inserts, if any.
    pub fn typed(self) -> Option<char> {
        match self.code {
            Code::Char(c) if !self.ctrl && !self.alt => Some(c),
            _ => None,
        }
    }

    /// Whether a Chinese input method could swallow or change it. Combinations with Ctrl pass.
    #[cfg(test)]
    pub fn needs_a_letter(self) -> bool {
        matches!(self.code, Code::Char(_)) && !self.ctrl && !self.alt
    }

    /// The key for looking up a command: with an input method on, letters arrive full-width (`ｍ`) and punctuation
    /// Chinese (`？`, `、`, `。`).
    #[must_use]
    pub fn normalised(self) -> Key {
        let Code::Char(c) = self.code else { return self };
        Key { code: Code::Char(half_width(c)), ..self }
    }
}

/// What the mouse did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MouseAct {
    /// The left button went down.
    Press,
    /// The mouse moved with the left button down.
    Drag,
    /// The left button went up.
    Release,
    /// The wheel turned away from the user.
    WheelUp,
    /// The wheel turned towards the user.
    WheelDown,
}

/// What the mouse did, and in which column and row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mouse {
    /// What.
    pub act: MouseAct,
    /// Column and row.
    pub at: (u16, u16),
}

/// Han, kana, hangul, accented letters: no command uses them, so typed in NAV mode they begin a prompt.
pub fn can_only_be_text(c: char) -> bool {
    !c.is_ascii() && half_width(c) == c && c.is_alphabetic()
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.ctrl {
            f.write_str("Ctrl-")?;
        }
        if self.alt {
            f.write_str("Alt-")?;
        }
        match self.code {
            Code::Char(' ') => f.write_str("space"),
            Code::Char(c) if self.ctrl => write!(f, "{}", c.to_ascii_uppercase()),
            Code::Char(c) => write!(f, "{c}"),
            Code::BackTab => f.write_str("Shift-Tab"),
            Code::PageUp => f.write_str("PgUp"),
            Code::PageDown => f.write_str("PgDn"),
            Code::F(n) => write!(f, "F{n}"),
            code => write!(f, "{code:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_width_keys_become_commands() {
        for (typed, meant) in [('ｑ', 'q'), ('？', '?'), ('：', ':'), ('　', ' '), ('、', '/'), ('１', '1'), ('q', 'q')]
        {
            assert_eq!(Key::char(typed).normalised(), Key::char(meant));
        }
    }

    #[test]
    fn han_can_only_be_text() {
        for c in ['春', 'あ', '한', 'é', '𠀀'] {
            assert!(can_only_be_text(c), "{c}");
        }
        for c in ['q', 'ｑ', '？', ' ', '　', '、'] {
            assert!(!can_only_be_text(c), "{c}");
        }
    }

    #[test]
    fn keys_have_names() {
        assert_eq!(Key::ctrl('g').to_string(), "Ctrl-G");
        assert_eq!(Key::char(' ').to_string(), "space");
        assert_eq!(Key::alt(Code::Enter).to_string(), "Alt-Enter");
        assert_eq!(Key::plain(Code::BackTab).to_string(), "Shift-Tab");
        assert_eq!(Key::plain(Code::F(1)).to_string(), "F1");
    }
}
