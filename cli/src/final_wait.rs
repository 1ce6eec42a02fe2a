//! Waiting until what was written is certified.

use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::ValueEnum;
use quipu_merge::EventId;
use quipu_net::{CertifyState, WaitError};
use quipu_store::Ledger;

use crate::context::Context;
use crate::exit::{Failure, NotFinal};
use crate::period::Period;

/// How often it is looked whether the client is still there.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Options of commands that write events.
#[derive(Clone, Copy, clap::Args)]
pub struct Wait {
    /// Return when what was written is certified. Fails at once, before anything is written, where
    /// that cannot be.
    #[arg(long = "wait", value_name = "WHAT")]
    until: Option<Until>,
    /// Wait no longer than this (90s, 15m), for ever unless given; what was written stays.
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
    /// Whether to wait at all.
    pub const fn is_wanted(self) -> bool {
        self.until.is_some()
    }

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
        let served = context.served().ok_or(NotFinal::NoDaemon)?;
        let certification = served.node.status().certification;
        let has_stopped = matches!(certification.state, CertifyState::Stopped(_));
        if has_stopped || certification.broken.is_some() {
            return Err(NotFinal::Stopped(certification.advice().unwrap_or_default()).into());
        }
        Ok(())
    }

    /// Returns when the last of several events is certified, if that is wanted: those before are then.
    pub fn until_final_of(self, last: Option<EventId>, context: &Context) -> Result<(), Failure> {
        last.map_or(Ok(()), |event| self.until_final(event, context))
    }

    /// Returns when an event is certified, if that is wanted.
    pub fn until_final(self, event: EventId, context: &Context) -> Result<(), Failure> {
        if self.until.is_none() {
            return Ok(());
        }
        let served = context.served().ok_or(NotFinal::NoDaemon)?;
        let timeout = self.timeout.map(|timeout| timeout.0);
        let gone = async {
            loop {
                tokio::time::sleep(LOOK_EVERY).await;
                if let Err(gone) = context.console().check_gone() {
                    return gone;
                }
                if served.make_way.load(Ordering::Relaxed) {
                    let why = "the daemon is stopping, or opens its store anew".to_owned();
                    return NotFinal::Ended { event, why }.into();
                }
            }
        };
        let waited = served.runtime.block_on(async {
            tokio::select! {
                waited = served.node.wait_final(event, timeout) => Ok(waited),
                gone = gone => Err(gone),
            }
        })?;
        waited.map(|_| ()).map_err(|error| match error {
            WaitError::NoValidators => NotFinal::NoValidators.into(),
            WaitError::TimedOut(event) => NotFinal::Late(event).into(),
            WaitError::Read(error) => error.into(),
            other => NotFinal::Ended { event, why: other.to_string() }.into(),
        })
    }
}
