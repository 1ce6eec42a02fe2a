//! The node's one task that decides: it feeds the protocol and does what the protocol wants.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use quipu_merge::{AuthorKey, Height};
use quipu_proto::{
    CertifyInput, Channel, Config, FrontierDigest, Input, Message, Misbehaviour, Output,
};
use quipu_store::{HandshakeKey, Ledger};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::address::Place;
use super::allowed::Allowed;
use super::book::PeerBook;
use super::certify::{Driver, Held};
use super::clock::{self, Clock};
use super::commands::Command;
use super::connected::{Arrival, Connected, Totals};
use super::dial::{self, Dial};
use super::dialling::Dialling;
use super::error::{StartError, SyncError};
use super::handle::blocking;
use super::opened::Opened;
use super::options::NodeOptions;
use super::outgoing::Queued;
use super::status::NodeStatus;
use super::syncing::Syncing;
use super::work::{Report, Work};
use crate::{CloseCode, Endpoint};

/// What waits for this task, of each kind. Whoever has more waits.
const MAX_WAITING: usize = 256;
/// How often the status is told, and who may not connect any more is sent away.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// How often roles are read while events come.
const ROLES_EVERY: Duration = Duration::from_millis(100);
/// How long a node that stops goes on telling its peers. On most links it takes a fraction of it; where
/// nothing is known yet of the way to a peer, QUIC would take many seconds.
const FAREWELL: Duration = Duration::from_millis(250);
/// With another key a node waits for peers to learn of it, so that they let it in: for so long in any
/// case, and for so long at most.
const MIN_TELLING: Duration = Duration::from_secs(1);
const MAX_TELLING: Duration = Duration::from_secs(10);

/// The node's state.
pub struct Core {
    pub(super) ledger: Arc<Ledger>,
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) clock: Clock,
    pub(super) proto: quipu_proto::Node,
    pub(super) work: Work,
    pub(super) book: Arc<Mutex<PeerBook>>,
    pub(super) dials: bool,
    /// It dials only whom it is told to, and lets nobody in.
    pub(super) is_visitor: bool,
    /// Held by whoever writes the address book.
    pub(super) saving: Arc<Mutex<()>>,
    pub(super) dialling: Dialling,
    pub(super) allowed: Arc<Allowed>,
    pub(super) connected: BTreeMap<AuthorKey, Connected>,
    pub(super) totals: BTreeMap<AuthorKey, Totals>,
    pub(super) misbehaviour: BTreeMap<Misbehaviour, u64>,
    pub(super) refused: u64,
    /// Where others may reach this node.
    pub(super) announced: Vec<Place>,
    /// Whether what peers may be told has changed.
    pub(super) tell_peers: bool,
    pub(super) syncs: Vec<Syncing>,
    pub(super) connections: u64,
    pub(super) arrivals: mpsc::Sender<Arrival>,
    pub(super) io: JoinSet<()>,
    pub(super) dialled: JoinSet<Dial>,
    pub(super) chores: JoinSet<()>,
    /// Where the ledger has validators.
    pub(super) certification: Option<Driver>,
    pub(super) held: Held,
    /// Tells of the last checkpoint that counts.
    pub(super) heights: watch::Sender<Option<Height>>,
    /// Tells whether all that precedes the store's checkpoint has come.
    pub(super) filled: watch::Sender<bool>,
    status: watch::Sender<NodeStatus>,
    looked: Instant,
    /// The frontier up to which roles have been read, and when that was looked at.
    roles_of: (Option<FrontierDigest>, Instant),
    /// Reads roles: never twice at once, so that what is older does not come last.
    reading_roles: JoinSet<Option<FrontierDigest>>,
    /// Since when the replica has another key than the endpoint.
    key_changed: Option<Instant>,
    inboxes: Option<Inboxes>,
}

/// Whom it tells of itself.
#[derive(Clone)]
pub struct Tellers {
    pub status: watch::Sender<NodeStatus>,
    pub heights: watch::Sender<Option<Height>>,
    pub filled: watch::Sender<bool>,
}

/// Why a node does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was to stop.
    Stopped,
    /// The replica has another key.
    KeyChanged,
}

/// Where it hears from others.
struct Inboxes {
    arrivals: mpsc::Receiver<Arrival>,
    reports: mpsc::Receiver<Report>,
    refusals: crate::Refusals,
}

impl Core {
    /// Starts all that it needs.
    pub async fn start(
        ledger: Arc<Ledger>,
        key: Arc<HandshakeKey>,
        mut book: PeerBook,
        options: NodeOptions,
        Tellers { status, heights, filled }: Tellers,
    ) -> Result<Self, StartError> {
        let allowed = Arc::new(Allowed::default());
        let (me, id) = (key.author(), ledger.id());
        options.join.iter().filter(|peer| peer.key != me).for_each(|peer| book.keep_at(peer));
        allowed.list(book.kept());
        let admission = allowed.admission(me, options.accept);
        let endpoint = Endpoint::bind(options.listen, key, admission, options.limits.clone())?;
        let refusals = endpoint.refusals();
        let (reports, reported) = mpsc::channel(MAX_WAITING);
        let book = Arc::new(Mutex::new(book));
        let certified = reports.clone();
        let opened = {
            let (book, ledger, allowed) = (book.clone(), ledger.clone(), allowed.clone());
            let options = options.clone();
            move || {
                if !options.join.is_empty() {
                    locked(&book).save()?;
                }
                allowed.refresh(&ledger)?;
                Opened::open(ledger, reports, &options)
            }
        };
        let Opened { work, frontier, begin, goal } = blocking(opened).await?;
        let clock = Clock::start();
        let certification = Driver::start(begin, options.interval, certified, clock.now())?;
        let (arrivals, arrived) = mpsc::channel(MAX_WAITING);
        status.send_replace(NodeStatus::new(me, endpoint.local_addr()));
        let config =
            Config { quota: options.quota, hidden: !options.accept, ..Config::new(me, id) };
        let mut core = Self {
            ledger,
            endpoint: Arc::new(endpoint),
            clock,
            proto: quipu_proto::Node::new(config, frontier),
            work,
            book,
            dials: options.dial,
            is_visitor: options.is_visitor(),
            saving: Arc::default(),
            dialling: Dialling::default(),
            allowed,
            connected: BTreeMap::new(),
            totals: BTreeMap::new(),
            misbehaviour: BTreeMap::new(),
            refused: 0,
            announced: options.announce,
            tell_peers: true,
            syncs: Vec::new(),
            connections: 0,
            arrivals,
            io: JoinSet::new(),
            dialled: JoinSet::new(),
            chores: JoinSet::new(),
            certification,
            held: Held::default(),
            heights,
            filled,
            status,
            looked: Instant::now(),
            roles_of: (None, Instant::now()),
            reading_roles: JoinSet::new(),
            key_changed: None,
            inboxes: Some(Inboxes { arrivals: arrived, reports: reported, refusals }),
        };
        core.begin(goal);
        Ok(core)
    }

    /// Tells the protocol what it begins with, and others that there is a node.
    fn begin(&mut self, goal: Option<(Height, u64, u64)>) {
        self.tell_known();
        if let Some((up_to, next, total)) = goal {
            self.input(Input::Fill { up_to, next, total });
        }
        self.status.send_replace(self.current_status());
    }

    /// Runs until it is told to stop, or nobody is left who could tell it, or its key has changed.
    pub async fn run(mut self, commands: &mut mpsc::Receiver<Command>) -> Ended {
        let Some(mut inboxes) = self.inboxes.take() else { return Ended::Stopped };
        let endpoint = self.endpoint.clone();
        self.look_around();
        let ended = loop {
            let wake = tokio::time::Instant::from_std(self.wake_at());
            tokio::select! {
                Some(report) = inboxes.reports.recv() => self.reported(report),
                Some(arrival) = inboxes.arrivals.recv() => self.heard(arrival),
                Some(connection) = endpoint.accept() => self.arrived(connection, true),
                Some(dialled) = self.dialled.join_next() => self.dialled(dialled.ok()),
                Some(read) = self.reading_roles.join_next() => {
                    self.roles_of.0 = read.ok().flatten();
                    self.input(Input::Roles(self.allowed.with_role()));
                    self.close_strangers();
                }
                Some(_) = inboxes.refusals.next() => self.refused += 1,
                command = commands.recv() => match command {
                    None | Some(Command::Stop) => break Ended::Stopped,
                    Some(command) => self.command(command),
                },
                () = tokio::time::sleep_until(wake) => self.input(Input::Tick),
            }
            self.look_around();
            if self.is_told_of_new_key() {
                break Ended::KeyChanged;
            }
        };
        drop(endpoint);
        self.stop(inboxes).await;
        ended
    }

    /// Whether the replica has another key, and peers have had time to learn of its roles.
    fn is_told_of_new_key(&self) -> bool {
        let Some(waited) = self.key_changed.map(|since| since.elapsed()) else { return false };
        let level = |key| self.proto.peer(key).is_some_and(|peer| peer.level);
        waited >= MAX_TELLING || waited >= MIN_TELLING && self.connected.keys().all(level)
    }

    async fn stop(mut self, inboxes: Inboxes) {
        for sync in self.syncs.drain(..) {
            sync.answer(Err(SyncError::Stopping));
        }
        // To whom this is not long enough, the connection is one that falls silent.
        let leaving = self.endpoint.leaving();
        let told = self.endpoint.close(CloseCode::Done, "the node is stopping");
        let _ = tokio::time::timeout(FAREWELL, told).await;
        // Its threads wait for nobody then.
        drop(inboxes);
        self.dialled.shutdown().await;
        self.io.shutdown().await;
        self.connected.clear();
        leaving.leave().await;
        while self.chores.join_next().await.is_some() {}
        while self.reading_roles.join_next().await.is_some() {}
        let (work, certification) = (self.work, self.certification);
        let _ = blocking(move || {
            work.stop();
            if let Some(driver) = certification {
                driver.stop();
            }
            Ok::<_, std::convert::Infallible>(())
        })
        .await;
    }

    /// Gives the protocol an input, and does what it wants.
    pub(super) fn input(&mut self, input: Input) {
        self.proto.handle(input, self.clock.now(), clock::wall());
        while let Some(output) = self.proto.output() {
            self.do_output(output);
        }
    }

    fn do_output(&mut self, output: Output) {
        match output {
            Output::Greeted { peer, version, hidden } => self.greeted(peer, version, hidden),
            Output::Certify(peer, message) => {
                self.certify(CertifyInput::Received(peer, Box::new(message)))
            }
            Output::Send { peer, message } => self.send(peer, &message),
            Output::Do(task) => self.work.start_task(task),
            Output::Disconnect { peer, why } => self.send_away(peer, why),
            Output::Misbehaved(peer, what) => {
                *self.misbehaviour.entry(what).or_default() += 1;
                tracing::warn!(%peer, ?what, "a peer misbehaves");
            }
            Output::Clock(peer, ahead) => self.clock_told(peer, ahead),
            Output::Heard { peers, .. } => self.heard_of(peers),
            Output::Level(peer) => {
                if let Some(connected) = self.connected.get_mut(&peer) {
                    connected.level = Some(Instant::now());
                }
                self.syncs.iter_mut().for_each(|sync| sync.level(peer));
                if self.is_visitor
                    && let Some(version) = self.proto.peer(&peer).and_then(|peer| peer.version)
                {
                    self.certify_with(peer, version);
                }
            }
        }
    }

    fn send(&mut self, peer: AuthorKey, message: &Message) {
        self.send_bytes(peer, message.channel(), message.encode());
    }

    pub(super) fn send_bytes(&mut self, peer: AuthorKey, channel: Channel, message: Vec<u8>) {
        let Some(connected) = self.connected.get(&peer) else { return };
        if connected.send(channel, message) == Queued::Stuck {
            tracing::warn!(%peer, "a peer does not read what it is sent");
            connected.close(CloseCode::Failed, "you do not read what you are sent");
        }
    }

    fn reported(&mut self, report: Report) {
        if report.brings_events() {
            self.held_changed();
        }
        match report {
            Report::Certify(report) => self.certify_reported(report),
            Report::Done(ticket, answer) => self.input(Input::Done(ticket, answer)),
            Report::Written(events) => self.input(Input::Written(events)),
            Report::Held(events) => self.input(Input::Held(events)),
            Report::Frontier(frontier) => self.input(Input::Frontier(frontier)),
            Report::Filled => {
                tracing::info!("all that precedes the checkpoint of the start is here");
                self.filled.send_replace(true);
            }
        }
    }

    /// Does what has become due besides the protocol.
    fn look_around(&mut self) {
        let settled = self.proto.values_settled();
        let counts = self.work.counts();
        for mut sync in std::mem::take(&mut self.syncs) {
            let driver = self.certification.as_ref();
            let checkpoints = driver.and_then(|driver| driver.catching_up(sync.peer().key));
            match sync.outcome(settled, checkpoints, counts) {
                Some(outcome) => sync.answer(outcome),
                None => self.syncs.push(sync),
            }
        }
        self.tell_of_peers();
        self.look_at_certification();
        let now = Instant::now();
        if self.dials {
            let mut there: BTreeSet<_> = self.connected.keys().copied().collect();
            there.insert(self.endpoint.key());
            let book = locked(&self.book);
            // Whoever may not connect is not to be had by dialling either.
            let may = |key| self.allowed.admits(key);
            let validators = self.certification.as_ref();
            let fellow = |key| validators.is_some_and(|driver| driver.wants(key));
            for peer in self.dialling.due(&book, &there, (may, fellow), now) {
                self.dialled.spawn(dial::dial(self.endpoint.clone(), peer));
            }
        }
        self.look_at_roles(now);
        if now.duration_since(self.looked) >= LOOK_EVERY {
            self.looked = now;
            self.count_events();
            self.status.send_replace(self.current_status());
            self.close_strangers();
            while self.chores.try_join_next().is_some() {}
            if self.key_changed.is_none() && self.ledger.author() != self.endpoint.key() {
                self.key_changed = Some(now);
            }
        }
    }

    /// When there is something to do, if nothing else happens.
    fn wake_at(&self) -> Instant {
        let look = self.looked + LOOK_EVERY;
        let proto = self.proto.next().map(|moment| self.clock.instant(moment));
        let others = [proto, self.certification_wakes_at()];
        others.into_iter().flatten().fold(look, Instant::min)
    }

    /// Has the roles be read soon: what is certified may have changed them.
    pub(super) const fn read_roles_anew(&mut self) {
        self.roles_of.0 = None;
    }

    /// Reads the roles anew where something may have changed them.
    fn look_at_roles(&mut self, now: Instant) {
        let (read, when) = self.roles_of;
        if now.duration_since(when) < ROLES_EVERY || !self.reading_roles.is_empty() {
            return;
        }
        let frontier = self.proto.frontier();
        self.roles_of.1 = now;
        if read == Some(frontier) {
            return;
        }
        let (ledger, allowed) = (self.ledger.clone(), self.allowed.clone());
        self.reading_roles.spawn_blocking(move || {
            let refreshed = allowed.refresh(&ledger);
            let read =
                refreshed.inspect_err(|error| tracing::error!(%error, "the roles cannot be read"));
            read.is_ok().then_some(frontier)
        });
    }
}

pub(super) fn locked(book: &Mutex<PeerBook>) -> MutexGuard<'_, PeerBook> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}
