//! Colours and glyphs for the terminal's capabilities.
//!
//! Hues are those of Okabe & Ito (2008), distinguishable with any colour vision, and no meaning is conveyed by colour
//! alone. The background is never set, so the terminal's own stays, light or dark.

use ratatui::style::{Color, Modifier, Style};
use serde::{Deserialize, Serialize};

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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Palette {
    /// For a dark background.
    #[default]
    Furnace,
    /// The same hues, dark enough for a light background.
    Light,
    /// The terminal's own sixteen colours.
    Terminal,
    /// No colours.
    Mono,
}

impl Palette {
    /// All, in cycling order.
    pub const ALL: [Palette; 4] = [Palette::Furnace, Palette::Light, Palette::Terminal, Palette::Mono];

    /// The one for the terminal's background, as far as the environment names it (`COLORFGBG`: 7 and 15 are white).
    pub fn detect(var: impl Fn(&str) -> Option<String>) -> Palette {
        let colours = var("COLORFGBG").unwrap_or_default();
        match colours.rsplit(';').next() {
            Some("7" | "15") if colours.contains(';') => Palette::Light,
            _ => Palette::Furnace,
        }
    }

    /// Its name.
    pub fn name(self) -> Tr {
        match self {
            Palette::Furnace => Tr("炉火", "furnace"),
            Palette::Light => Tr("浅色", "light"),
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
    /// The curves of a compared run, by its place in the comparison.
    Run(u8),
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
            Palette::Furnace | Palette::Light => self.depth,
            Palette::Terminal if self.depth == Depth::Mono => Depth::Mono,
            Palette::Terminal => Depth::Sixteen,
            Palette::Mono => Depth::Mono,
        };
        let light = self.palette == Palette::Light;
        // The hue in 24 bits, the nearest xterm colour, the nearest of sixteen.
        let (rgb, cube, sixteen) = match role {
            Role::Text | Role::Bright | Role::Chosen | Role::Run(3..) => return style,
            // On a light background the line is darker than the range behind it, and text keeps a contrast of 4.5.
            Role::Dim if light => ((0x6b, 0x6b, 0x6b), 242, Color::DarkGray),
            Role::Focus | Role::Kept if light => ((0x9b, 0x3f, 0x74), 125, Color::Magenta),
            Role::Train if light => ((0x00, 0x64, 0xa3), 25, Color::Blue),
            Role::Band if light => ((0xa9, 0xd0, 0xea), 153, Color::Gray),
            Role::Valid if light => ((0x8a, 0x5d, 0x00), 94, Color::Yellow),
            Role::Good | Role::Run(1) if light => ((0x00, 0x73, 0x54), 23, Color::Green),
            Role::Bad | Role::Run(2) if light => ((0xb0, 0x4a, 0x00), 130, Color::Red),
            Role::Run(0) if light => ((0x6f, 0x6a, 0x00), 58, Color::Yellow),
            Role::Run(0) => ((0xf0, 0xe4, 0x42), 227, Color::LightYellow),
            Role::Run(1) => ((0x00, 0x9e, 0x73), 36, Color::LightGreen),
            Role::Run(2) => ((0xd5, 0x5e, 0x00), 166, Color::LightRed),
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

    /// Relative luminance and contrast as WCAG 2 defines them.
    fn luminance(style: Style) -> f64 {
        let Some(Color::Rgb(r, g, b)) = style.fg else { panic!("{style:?} has no colour of 24 bits") };
        let linear = |c: u8| {
            let c = f64::from(c) / 255.0;
            if c <= 0.040_45 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        };
        0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b)
    }

    #[test]
    fn text_is_legible_on_the_background_of_its_theme() {
        let words = [Role::Dim, Role::Focus, Role::Train, Role::Valid, Role::Good, Role::Kept, Role::Bad];
        let words = words.into_iter().chain((0..3).map(Role::Run));
        for (palette, ground, least) in [(Palette::Light, 1.0, 4.5), (Palette::Furnace, 0.0, 4.0)] {
            let theme = Theme { depth: Depth::True, palette };
            for role in words.clone() {
                let other = luminance(theme.style(role));
                let contrast = (f64::max(other, ground) + 0.05) / (f64::min(other, ground) + 0.05);
                assert!(contrast >= least, "{palette:?} {role:?}: {contrast:.2}");
            }
            // The band is nearer to the background than the line in front of it.
            let [band, line] = [Role::Band, Role::Train].map(|role| (luminance(theme.style(role)) - ground).abs());
            assert!(band < line, "{palette:?}");
        }
    }

    /// Runs on one chart differ from each other and from the open run's curves; their numbers say which is which.
    #[test]
    fn compared_runs_have_colours_of_their_own() {
        for palette in [Palette::Furnace, Palette::Light] {
            for depth in [Depth::True, Depth::Cube, Depth::Sixteen] {
                let theme = Theme { depth, palette };
                let own = [Role::Train, Role::Valid, Role::Band].map(|role| theme.style(role).fg);
                let mut all = own.to_vec();
                all.extend((0..4).map(|run| theme.style(Role::Run(run)).fg));
                // A light terminal's sixteen have one yellow.
                let runs = if palette == Palette::Light && depth == Depth::Sixteen { 3.. } else { 0.. };
                let all = &all[runs];
                assert!(
                    all.iter().enumerate().all(|(at, fg)| !all[..at].contains(fg)),
                    "{palette:?} {depth:?}: {all:?}"
                );
            }
        }
    }

    #[test]
    fn a_light_background_is_read_off_the_environment() {
        let detect = |value: Option<&'static str>| Palette::detect(|_| value.map(str::to_owned));
        for light in ["0;15", "0;7", "0;default;15"] {
            assert_eq!(detect(Some(light)), Palette::Light, "{light}");
        }
        for other in [None, Some(""), Some("15;0"), Some("7"), Some("15;default")] {
            assert_eq!(detect(other), Palette::Furnace, "{other:?}");
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
