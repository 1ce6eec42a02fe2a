//! Waiting until what was written is certified.

use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use quipu_merge::EventId;
use quipu_store::Ledger;

use crate::context::Context;
use crate::exit::{Failure, NotFinal};
use crate::period::Period;

/// How often to look.
const PAUSE: Duration = Duration::from_millis(20);

/// Options of commands that write events.
#[derive(Clone, Copy, clap::Args)]
pub struct Wait {
    /// Return when what was written is certified. Fails at once, before anything is written, where
    /// that cannot be.
    #[arg(long = "wait", value_name = "WHAT")]
    until: Option<Until>,
    /// Wait no longer than this (90s, 15m); what was written stays.
    #[arg(long, value_name = "D", requires = "until")]
    timeout: Option<Period>,
}

/// What to wait for.
#[derive(Clone, Copy, ValueEnum)]
enum Until {
    /// A certified checkpoint holds it.
    Final,
}

impl Wait {
    /// Before anything is written: fails where it is to become final and cannot.
    pub fn check(self, ledger: &Ledger, context: &Context) -> Result<(), Failure> {
        if self.until.is_none() {
            return Ok(());
        }
        if ledger.genesis().validators.is_empty() {
            return Err(NotFinal::NoValidators.into());
        }
        if ledger.has_diverged() {
            return Err(NotFinal::Diverged.into());
        }
        if context.served().is_none() {
            return Err(NotFinal::NoDaemon.into());
        }
        Ok(())
    }

    /// Returns when the last of several events is certified, if that is wanted: those before are then.
    pub fn until_final_of(
        self,
        last: Option<EventId>,
        ledger: &Ledger,
        context: &Context,
    ) -> Result<(), Failure> {
        last.map_or(Ok(()), |event| self.until_final(event, ledger, context))
    }

    /// Returns when an event is certified, if that is wanted.
    pub fn until_final(
        self,
        event: EventId,
        ledger: &Ledger,
        context: &Context,
    ) -> Result<(), Failure> {
        if self.until.is_none() {
            return Ok(());
        }
        let since = Instant::now();
        while ledger.snapshot()?.certified_in(event)?.is_none() {
            context.console().check_gone()?;
            if ledger.has_diverged() {
                return Err(NotFinal::Diverged.into());
            }
            if self.timeout.is_some_and(|timeout| since.elapsed() >= timeout.0) {
                return Err(NotFinal::Late(event).into());
            }
            thread::sleep(PAUSE);
        }
        Ok(())
    }
}
