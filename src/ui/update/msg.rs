//! The messages to the screen, and the commands it returns.

use std::time::Duration;

use crate::{
    protocol::{Command, Event},
    ui::{
        keys::{Key, Mouse},
        state::charts::Export,
    },
};

/// A message.
#[derive(Clone, Debug)]
pub enum Msg {
    /// A key was pressed.
    Key(Key),
    /// Text was pasted.
    Paste(String),
    /// The mouse did something.
    Mouse(Mouse),
    /// The trainer sent an event.
    Event(Event),
    /// The trainer ended without [`Event::Finished`].
    TrainerGone,
    /// Time since the screen opened.
    Tick(Duration),
    /// SIGTERM or SIGINT arrived: save and quit.
    Leave,
    /// SIGHUP arrived or the terminal closed: train to the stage's end without a screen, or save and quit.
    HangUp,
    /// Another thread panicked with this message.
    Background(String),
}

/// A command to the loop.
#[derive(Clone, Debug, PartialEq)]
pub enum Cmd {
    /// Send to the trainer; kept until it is accepted.
    Send(Command),
    /// Draw a panel or the screen and send it to the trainer, which writes the file.
    Export(Export),
    /// Copy a text, or without one the characters of the focused panel, to the clipboard of the terminal.
    Copy(Option<String>),
    /// Take the mouse, or leave it to the terminal.
    Mouse(bool),
    /// Give up the stage that is being opened.
    GiveUp,
    /// Close the screen.
    Close,
    /// Close the screen now, whatever the trainer is doing.
    Abandon,
    /// Return the terminal to the shell for a while.
    Suspend,
    /// Redraw everything.
    Redraw,
}
