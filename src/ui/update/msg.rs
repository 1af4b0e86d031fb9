//! What happens to the screen, and what it asks for.

use std::time::Duration;

use crate::{
    protocol::{Command, Event},
    ui::keys::Key,
};

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Msg {
    /// A key went down.
    Key(Key),
    /// Text was pasted.
    Paste(String),
    /// The trainer sent an event.
    Event(Event),
    /// The trainer went away without [`Event::Finished`].
    TrainerGone,
    /// Time since the screen opened.
    Tick(Duration),
    /// SIGTERM, SIGINT or SIGHUP came, or the terminal died: save and quit.
    Leave,
    /// Another thread panicked with this message.
    Background(String),
}

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Cmd {
    /// Send to the trainer; kept until it is taken.
    Send(Command),
    /// Close the screen.
    Close,
    /// Close the screen now, whatever the trainer is doing.
    Abandon,
    /// Hand the terminal back to the shell for a while.
    Suspend,
    /// Paint everything again.
    Redraw,
}
