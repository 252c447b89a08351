//! The states of the engine, and their numbers in the journal.

use crate::Who;
use hic_migrate::Wave;

/// What an update is at. See the diagram in the crate's documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u64)]
pub enum Phase {
    /// The module is verified.
    Check = 1,
    /// The new instance is made.
    Create,
    /// It is started and made ready; both are told their sides.
    WarmUp,
    /// Items move, in waves.
    Migrate,
    /// The role and the service's own ports move.
    Switch,
    /// What the exporter got meanwhile moves.
    Rest,
    /// The new version proves itself.
    Validate,
    /// The rollback window.
    Watch,
    /// The new default is recorded and the old instance sent home.
    Commit,
    /// The old instance is destroyed.
    CleanUp,
    /// Both sides are told to change roles: the way back.
    Turn,
    /// Everything is taken from an instance that is dead for good.
    Salvage,
    /// The new instance is destroyed.
    Undo,
    /// Over.
    Done,
}

impl Phase {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 14] = [
        Self::Check,
        Self::Create,
        Self::WarmUp,
        Self::Migrate,
        Self::Switch,
        Self::Rest,
        Self::Validate,
        Self::Watch,
        Self::Commit,
        Self::CleanUp,
        Self::Turn,
        Self::Salvage,
        Self::Undo,
        Self::Done,
    ];

    /// As the console names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Create => "create",
            Self::WarmUp => "warm up",
            Self::Migrate => "migrate",
            Self::Switch => "switch",
            Self::Rest => "move the rest",
            Self::Validate => "validate",
            Self::Watch => "watch",
            Self::Commit => "commit",
            Self::CleanUp => "clean up",
            Self::Turn => "turn back",
            Self::Salvage => "salvage",
            Self::Undo => "undo",
            Self::Done => "done",
        }
    }

    pub(crate) fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| *phase as u64 == number)
    }

    /// A phase that is made of batches.
    pub(crate) const fn is_batches(self) -> bool {
        matches!(self, Self::Migrate | Self::Switch | Self::Rest | Self::Salvage)
    }
}

/// The step inside a phase. Entering one is repeatable, except for the two transactions, which the token tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u64)]
pub enum Step {
    /// The only step of its phase.
    Run = 1,
    /// The instance is started.
    Start,
    /// The exporter is told its side.
    PrepareExporter,
    /// The importer is told its side.
    PrepareImporter,
    /// The new instance is asked for its health.
    Probe,
    /// Nothing until the time comes.
    Pause,
    /// Wait until the pace allows a batch.
    Pace,
    /// The token goes to the exporter.
    Place,
    /// The exporter names a share.
    Export,
    /// The importer makes room.
    Import,
    /// Capabilities, ports and token move.
    Transact,
    /// Only the service's ports and the token move: nobody has a record of the role.
    SwitchOnly,
    /// The importer serves.
    Migrate,
    /// The exporter forgets.
    Complete,
    /// The importer forgets a batch that does not take place.
    AbortImporter,
    /// The exporter serves it again.
    AbortExporter,
    /// The default is recorded.
    Record,
    /// The survivor is told that it is alone.
    Commit,
    /// The old instance says goodbye.
    Shutdown,
    /// An instance is destroyed.
    Destroy,
}

/// The parts of a batch, for the report: where the time of moving goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchPart {
    /// The driver's token goes to the exporter, so that it tells whether the transaction took place.
    Token,
    /// The exporter chooses, freezes, and has the driver hold what comes.
    Export,
    /// The importer reads the records and makes room.
    Import,
    /// Capabilities, ports and the token change sides.
    Transaction,
    /// The importer takes over and serves.
    TakeOver,
    /// The exporter forgets.
    Complete,
}

impl BatchPart {
    /// All of them, in their order.
    pub const ALL: [Self; 6] =
        [Self::Token, Self::Export, Self::Import, Self::Transaction, Self::TakeOver, Self::Complete];

    /// As the report names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Export => "export",
            Self::Import => "import",
            Self::Transaction => "transaction",
            Self::TakeOver => "take over",
            Self::Complete => "complete",
        }
    }
}

impl Step {
    /// The part of a batch that this step is.
    pub(crate) const fn batch_part(self) -> Option<BatchPart> {
        match self {
            Self::Place => Some(BatchPart::Token),
            Self::Export => Some(BatchPart::Export),
            Self::Import => Some(BatchPart::Import),
            Self::Transact | Self::SwitchOnly => Some(BatchPart::Transaction),
            Self::Migrate => Some(BatchPart::TakeOver),
            Self::Complete => Some(BatchPart::Complete),
            _ => None,
        }
    }

    const ALL: [Self; 20] = [
        Self::Run,
        Self::Start,
        Self::PrepareExporter,
        Self::PrepareImporter,
        Self::Probe,
        Self::Pause,
        Self::Pace,
        Self::Place,
        Self::Export,
        Self::Import,
        Self::Transact,
        Self::SwitchOnly,
        Self::Migrate,
        Self::Complete,
        Self::AbortImporter,
        Self::AbortExporter,
        Self::Record,
        Self::Commit,
        Self::Shutdown,
        Self::Destroy,
    ];

    fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|step| *step as u64 == number)
    }
}

/// What is known of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Life {
    /// Not made yet, or destroyed.
    Absent = 1,
    /// It does what it is asked.
    Up,
    /// It is to be started again.
    Down,
    /// It was started again and must be told its side.
    Raised,
    /// It will not be started again; its state is there.
    Gone,
}

impl Life {
    const ALL: [Self; 5] = [Self::Absent, Self::Up, Self::Down, Self::Raised, Self::Gone];

    fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|life| *life as u64 == number)
    }
}

/// Where an update is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub phase: Phase,
    pub step: Step,
    pub wave: Wave,
    /// Who gives state away; the other one takes it.
    pub exporter: Who,
    /// Who serves the service's own ports.
    pub role_at: Who,
    /// Old and new.
    pub life: [Life; 2],
    /// It goes back.
    pub back: bool,
    /// The new default is recorded: no way back.
    pub committed: bool,
    /// The new instance may have something.
    pub touched: bool,
    /// The old instance was told a side, so it must be told in the end that it is alone.
    pub prepared: bool,
    /// Recording was tried, so the record may say "new".
    pub record_tried: bool,
    /// Something was taken from a dead instance, so the ports have moved.
    pub salvaged: bool,
}

impl Position {
    /// Words of an encoded position.
    pub const WORDS: usize = 13;

    pub const START: Self = Self {
        phase: Phase::Check,
        step: Step::Run,
        wave: Wave::Low,
        exporter: Who::Old,
        role_at: Who::Old,
        life: [Life::Up, Life::Absent],
        back: false,
        committed: false,
        touched: false,
        prepared: false,
        record_tried: false,
        salvaged: false,
    };

    pub const fn importer(&self) -> Who {
        self.exporter.other()
    }

    pub fn encode(&self) -> [u64; Self::WORDS] {
        let [old, new] = self.life;
        [
            self.phase as u64,
            self.step as u64,
            self.wave as u64,
            self.exporter as u64,
            self.role_at as u64,
            old as u64,
            new as u64,
            self.back.into(),
            self.committed.into(),
            self.touched.into(),
            self.prepared.into(),
            self.record_tried.into(),
            self.salvaged.into(),
        ]
    }

    pub fn decode(words: &[u64; Self::WORDS]) -> Option<Self> {
        let [phase, step, wave, exporter, role_at, old, new, flags @ ..] = *words;
        let who = |number| Who::BOTH.into_iter().find(|who| *who as u64 == number);
        let [back, committed, touched, prepared, record_tried, salvaged] = flags.map(|flag| flag != 0);
        Some(Self {
            phase: Phase::from_number(phase)?,
            step: Step::from_number(step)?,
            wave: Wave::ALL.into_iter().find(|known| *known as u64 == wave)?,
            exporter: who(exporter)?,
            role_at: who(role_at)?,
            life: [Life::from_number(old)?, Life::from_number(new)?],
            back,
            committed,
            touched,
            prepared,
            record_tried,
            salvaged,
        })
    }
}
