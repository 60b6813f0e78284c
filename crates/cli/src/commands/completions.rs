//! `mainstay completions`: what a shell needs to complete our command line.

use clap_complete::Shell;

use crate::exit::{Answer, Failure};
use crate::look::say;

/// Print a shell's completions
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay completions bash > ~/.local/share/bash-completion/completions/mainstay
  mainstay completions fish > ~/.config/fish/completions/mainstay.fish
  mainstay completions zsh > ~/.zfunc/_mainstay")]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(self) -> Result<Answer, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::command(), "mainstay", &mut script);
        say(&String::from_utf8_lossy(&script))?;
        Ok(Answer::Yes)
    }
}
