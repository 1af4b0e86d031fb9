//! All texts on the screen, Chinese and English. Short Chinese titles include the English term, since the field's terms
//! are English.

mod config;
mod data;
mod feedback;
mod lang;
mod lessons;
mod notes;
mod opening;
mod screen;
mod stages;
mod tree;

pub use self::{
    config::*,
    data::*,
    feedback::*,
    lang::{Lang, Tr, labelled},
    lessons::lesson,
    notes::{change, trainer},
    opening::preparation,
    screen::*,
    stages::{PATH, path, stage, stage_word, train_first},
    tree::*,
};

#[cfg(test)]
mod tests {
    /// Box drawing, bullets, dots and arrows are two cells wide on terminals set to CJK (UAX 11 class A), so no text
    /// may contain them; such glyphs come from the glyph set.
    #[test]
    fn no_text_holds_a_character_of_ambiguous_width() {
        use unicode_width::UnicodeWidthStr as _;
        for text in super::screen::ALL
            .iter()
            .chain(super::feedback::ALL)
            .chain(super::data::ALL)
            .chain(super::config::ALL)
            .chain(super::tree::ALL)
        {
            for text in [text.0, text.1] {
                assert_eq!(text.width(), text.width_cjk(), "{text}");
            }
        }
    }
}
