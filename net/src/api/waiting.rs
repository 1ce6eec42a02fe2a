//! Waiting until what was written is certified.

use std::sync::Arc;
use std::time::Duration;

use quipu_merge::{EventId, Height};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::app::App;
use super::problem::{self, Answer, Problem};
use crate::node::WaitError;

/// How long is waited unless something else is asked for.
const USUAL: Duration = Duration::from_secs(30);
/// No longer than this, in seconds.
const MAX_WAIT: u64 = 600;

/// What is waited for.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Until {
    /// Until it is certified.
    Final,
}

/// What is waited for before there is an answer.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct WaitQuery {
    /// `final`: until what is written is certified. Without it, until it is on the disk of this node.
    #[param(inline)]
    wait: Option<Until>,
    /// For how many seconds; 30 unless given, up to 600.
    timeout: Option<u64>,
}

/// How long is waited until something is certified, if that is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Wait(Option<Duration>);

impl WaitQuery {
    /// Refuses, before anything is written, what would be waited for in vain.
    pub fn check(&self, app: &App) -> Answer<Wait> {
        let Some(Until::Final) = self.wait else {
            if self.timeout.is_some() {
                return Err(Problem::bad("`timeout` says how long `wait=final` takes at most"));
            }
            return Ok(Wait(None));
        };
        if self.timeout.is_some_and(|timeout| timeout > MAX_WAIT) {
            return Err(Problem::bad(format!("`timeout` is at most {MAX_WAIT} seconds")));
        }
        if app.ledger.genesis().validators.is_empty() {
            let detail = "the ledger has no validators: nothing is ever certified";
            return Err(Problem::new(problem::NEVER_FINAL, detail));
        }
        let Some(finality) = app.finality.get() else {
            return Err(Problem::new(problem::NEVER_FINAL, "no node runs that could tell"));
        };
        if app.ledger.has_diverged() {
            let detail = "the ledger has diverged: nothing is certified here any more";
            return Err(Problem::new(problem::NEVER_FINAL, detail));
        }
        if let Some(why) = finality.stopped() {
            return Err(Problem::new(problem::NEVER_FINAL, why));
        }
        Ok(Wait(Some(self.timeout.map_or(USUAL, Duration::from_secs))))
    }
}

impl Wait {
    /// Not at all.
    pub const NO: Self = Self(None);

    /// Whether there is something to wait for.
    pub const fn is_some(self) -> bool {
        self.0.is_some()
    }

    /// Waits. Tells by which checkpoint an event is certified; `None` where it was not in time.
    pub async fn until_final(self, app: &Arc<App>, event: EventId) -> Option<Height> {
        let (Some(timeout), Some(finality)) = (self.0, app.finality.get()) else { return None };
        match finality.wait(event, Some(timeout)).await {
            Ok(height) => Some(height),
            // It is written all the same.
            Err(WaitError::TimedOut(_)) => None,
            Err(error) => {
                tracing::warn!(%error, "it is not known whether an event is certified");
                None
            }
        }
    }
}
