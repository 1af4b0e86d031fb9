//! Colours and glyphs for the terminal's capabilities.
//!
//! Hues are those of Okabe & Ito (2008), distinguishable with any colour vision, and no meaning is conveyed by colour
//! alone. The background is never set, so the terminal's own stays, light or dark.

use ratatui::style::{Color, Modifier, Style};

use crate::ui::strings::Tr;

/// The number of colours of the terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// 24 bits.
    True,
    /// The 256 colours of xterm.
    #[default]
    Cube,
    /// The terminal's own sixteen.
    Sixteen,
    /// None (`NO_COLOR`); bold, underline and reverse remain.
    Mono,
}

impl Depth {
    /// Detects it from the environment (<https://no-color.org>: any non-empty value).
    pub fn detect(var: impl Fn(&str) -> Option<String>) -> Depth {
        let value = |name: &str| var(name).unwrap_or_default();
        if !value("NO_COLOR").is_empty() || value("TERM") == "dumb" {
            Depth::Mono
        } else if matches!(value("COLORTERM").as_str(), "truecolor" | "24bit") {
            Depth::True
        } else if value("TERM").contains("256color") || !value("WT_SESSION").is_empty() {
            Depth::Cube
        } else {
            Depth::Sixteen
        }
    }
}

/// The colours to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Palette {
    /// The safe palette.
    #[default]
    Furnace,
    /// The terminal's own sixteen colours.
    Terminal,
    /// No colours.
    Mono,
}

impl Palette {
    /// All, in cycling order.
    pub const ALL: [Palette; 3] = [Palette::Furnace, Palette::Terminal, Palette::Mono];

    /// Its name.
    pub fn name(self) -> Tr {
        match self {
            Palette::Furnace => Tr("炉火", "furnace"),
            Palette::Terminal => Tr("终端", "terminal"),
            Palette::Mono => Tr("单色", "mono"),
        }
    }
}

/// The meaning of a style.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Ordinary text.
    Text,
    /// The current number.
    Bright,
    /// Labels, rules, guides.
    Dim,
    /// The focused element.
    Focus,
    /// The training curve.
    Train,
    /// The range of raw values behind it.
    Band,
    /// Validation.
    Valid,
    /// Correct characters, saved, done.
    Good,
    /// Not finite, failed.
    Bad,
    /// The skill of an earlier stage, measured in a later one.
    Kept,
    /// The selected row of a list.
    Chosen,
}

/// The style of every role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Theme {
    /// The terminal's colours.
    pub depth: Depth,
    /// The palette to use.
    pub palette: Palette,
}

impl Theme {
    /// The style of a role.
    pub fn style(self, role: Role) -> Style {
        let style = match role {
            Role::Bright | Role::Good | Role::Focus | Role::Bad => Style::new().add_modifier(Modifier::BOLD),
            Role::Chosen => Style::new().add_modifier(Modifier::REVERSED | Modifier::BOLD),
            _ => Style::new(),
        };
        let depth = match self.palette {
            Palette::Furnace => self.depth,
            Palette::Terminal if self.depth == Depth::Mono => Depth::Mono,
            Palette::Terminal => Depth::Sixteen,
            Palette::Mono => Depth::Mono,
        };
        // The hue in 24 bits, the nearest xterm colour, the nearest of sixteen.
        let (rgb, cube, sixteen) = match role {
            Role::Text | Role::Bright | Role::Chosen => return style,
            Role::Dim => ((0x80, 0x80, 0x80), 244, Color::DarkGray),
            Role::Focus => ((0xcc, 0x79, 0xa7), 175, Color::Magenta),
            Role::Train => ((0x56, 0xb4, 0xe9), 74, Color::LightCyan),
            Role::Band => ((0x33, 0x6a, 0x89), 24, Color::Blue),
            Role::Valid => ((0xe6, 0x9f, 0x00), 178, Color::Yellow),
            Role::Good => ((0x00, 0x9e, 0x73), 36, Color::Green),
            Role::Kept => ((0xcc, 0x79, 0xa7), 175, Color::LightMagenta),
            Role::Bad => ((0xd5, 0x5e, 0x00), 166, Color::Red),
        };
        match depth {
            Depth::True => style.fg(Color::Rgb(rgb.0, rgb.1, rgb.2)),
            Depth::Cube => style.fg(Color::Indexed(cube)),
            Depth::Sixteen => style.fg(sixteen),
            Depth::Mono if matches!(role, Role::Dim | Role::Band) => style.add_modifier(Modifier::DIM),
            Depth::Mono => style,
        }
    }
}

impl Theme {
    /// The style of a trained token by heat level, 0 likely to 4 a surprise: a hue, or without colours underline, bold,
    /// both, and reverse.
    pub fn heat(self, heat: usize) -> Style {
        let mono = self.style(Role::Text) == self.style(Role::Train);
        if mono {
            let modifiers = [
                Modifier::empty(),
                Modifier::UNDERLINED,
                Modifier::BOLD,
                Modifier::BOLD | Modifier::UNDERLINED,
                Modifier::REVERSED,
            ];
            return Style::new().add_modifier(modifiers[heat.min(4)]);
        }
        match heat {
            0 => self.style(Role::Good).remove_modifier(Modifier::BOLD),
            1 => self.style(Role::Train),
            2 => self.style(Role::Valid),
            3 => self.style(Role::Bad),
            _ => self.style(Role::Bad).add_modifier(Modifier::REVERSED),
        }
    }
}

impl Theme {
    /// The same for a bar: never reversed, since a full bar would look empty.
    pub fn heat_of_bar(self, heat: usize) -> Style {
        self.heat(heat).remove_modifier(Modifier::REVERSED)
    }
}

/// The characters for frames and charts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GlyphSet {
    /// Box drawing, for terminals where it takes one cell.
    #[default]
    Line,
    /// Dashes, braille and others that are one cell wide on every terminal.
    Safe,
    /// Seven bits, for consoles without braille.
    Ascii,
}

/// The characters of a set.
#[derive(Clone, Copy, Debug)]
pub struct Glyphs {
    /// Horizontal rule.
    pub rule: &'static str,
    /// Vertical divider.
    pub divider: &'static str,
    /// A chart's axis.
    pub axis: &'static str,
    /// Separator of facts.
    pub dot: &'static str,
    /// Multiplication sign.
    pub times: &'static str,
    /// Corners of a popup: top left, top right, bottom left, bottom right.
    pub corners: [&'static str; 4],
    /// A full cell of a bar.
    pub full: &'static str,
    /// An empty cell of a bar.
    pub empty: &'static str,
    /// In front of typed text.
    pub prompt: &'static str,
    /// Marks the selected row.
    pub chosen: &'static str,
    /// Success.
    pub tick: &'static str,
    /// Failure.
    pub cross: &'static str,
    /// The frames of the pulse.
    pub pulse: [&'static str; 4],
    /// Arrow between stages.
    pub then: &'static str,
    /// Sample of a training line, for the legend.
    pub train: &'static str,
    /// Sample of a validation point.
    pub valid: &'static str,
    /// In place of text that is left out; [`crate::ui::text::shorten`] writes that of the other sets.
    pub more: &'static str,
    /// A checkpoint, one that something began from, and the stage that trains.
    pub nodes: [&'static str; 3],
    /// In front of a fork.
    pub branch: &'static str,
    /// Whether charts may use braille.
    pub braille: bool,
}

impl GlyphSet {
    /// The characters of this set.
    pub fn glyphs(self) -> &'static Glyphs {
        match self {
            GlyphSet::Line => &LINE,
            GlyphSet::Safe => &SAFE,
            GlyphSet::Ascii => &ASCII,
        }
    }
}

impl Glyphs {
    /// Replaces the arrows in a text by those of this set.
    pub fn arrows(&self, text: &str) -> String {
        text.replace('→', self.then)
    }
}

/// In place of text that is left out, as [`crate::ui::text::shorten`] writes it.
pub const MORE: &str = "⋯";

const LINE: Glyphs = Glyphs {
    rule: "─",
    divider: "│",
    dot: "·",
    times: "×",
    corners: ["╭", "╮", "╰", "╯"],
    then: "→",
    nodes: ["○", "◆", "●"],
    branch: "└─",
    ..SAFE
};
const SAFE: Glyphs = Glyphs {
    rule: "╌",
    divider: "╎",
    axis: "╎",
    dot: "⋅",
    times: "x",
    corners: ["╌"; 4],
    full: "⣿",
    empty: "⣀",
    prompt: "❯",
    chosen: "▸",
    tick: "✓",
    cross: "✗",
    pulse: ["⠶", "⠷", "⠿", "⠾"],
    then: "▸",
    train: "⠤⠤",
    valid: "⠶",
    more: MORE,
    nodes: ["◦", "▪", "▸"],
    branch: "╎╌",
    braille: true,
};
const ASCII: Glyphs = Glyphs {
    rule: "-",
    divider: "|",
    axis: "|",
    dot: "-",
    times: "x",
    corners: ["+"; 4],
    full: "#",
    empty: ".",
    prompt: ">",
    chosen: ">",
    tick: "ok",
    cross: "!!",
    pulse: ["-", "\\", "|", "/"],
    then: ">",
    train: "*",
    valid: "o",
    more: "~",
    nodes: ["o", "@", ">"],
    branch: "+-",
    braille: false,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_safe_set_is_one_cell_wide_everywhere() {
        use unicode_width::UnicodeWidthStr as _;
        let g = GlyphSet::Safe.glyphs();
        for glyph in [g.rule, g.divider, g.axis, g.dot, g.times, g.full, g.empty, g.prompt, g.chosen, g.then, g.valid]
            .into_iter()
            .chain(g.nodes)
        {
            assert_eq!((glyph.width(), glyph.width_cjk()), (1, 1), "{glyph}");
        }
    }

    #[test]
    fn the_ascii_set_is_ascii() {
        let g = GlyphSet::Ascii.glyphs();
        for glyph in
            [g.rule, g.divider, g.axis, g.dot, g.times, g.full, g.empty, g.prompt, g.chosen, g.then, g.tick, g.cross]
        {
            assert!(glyph.is_ascii(), "{glyph}");
        }
    }

    #[test]
    fn no_color_leaves_attributes() {
        let detect = |pairs: &'static [(&str, &str)]| {
            Depth::detect(move |name| pairs.iter().find(|p| p.0 == name).map(|p| p.1.to_owned()))
        };
        assert_eq!(detect(&[("NO_COLOR", "1"), ("COLORTERM", "truecolor")]), Depth::Mono);
        assert_eq!(detect(&[("NO_COLOR", ""), ("COLORTERM", "truecolor")]), Depth::True);
        assert_eq!(detect(&[("TERM", "xterm-256color")]), Depth::Cube);
        assert_eq!(detect(&[("TERM", "xterm")]), Depth::Sixteen);
        let mono = Theme { depth: Depth::Mono, palette: Palette::Furnace };
        for role in [Role::Train, Role::Good, Role::Dim, Role::Chosen] {
            assert_eq!(mono.style(role).fg, None);
        }
        assert_ne!(mono.style(Role::Chosen), mono.style(Role::Text));
        assert_ne!(mono.style(Role::Good), mono.style(Role::Text));
        for theme in [mono, Theme::default()] {
            let looks: Vec<Style> = (0..5).map(|heat| theme.heat(heat)).collect();
            assert!(looks.iter().enumerate().all(|(at, look)| !looks[..at].contains(look)), "{looks:?}");
        }
    }
}
