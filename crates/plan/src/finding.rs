//! Findings: what is wrong with a plan, or worth knowing about it, each with a stable code and its place in the file.
//!
//! A finding says four things: what is the matter (`message`), where (`span` and `label`), why it matters (`reason`) and
//! what to change (`help`). How they are drawn stands in [`mod@crate::render`].

use serde::{Serialize, Serializer};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// There is no plan until it is mended.
    Error,
    /// The plan works, but probably not as its owner expects.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// The word for it everywhere.
    pub const fn word(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

/// A part of the file, in bytes, with the line and column of its start for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Span {
    /// First byte, counted from 0.
    pub start: u32,
    /// One past the last byte; equal to `start` where something is missing.
    pub end: u32,
    /// Line of `start`, counted from 1.
    pub line: u32,
    /// Column of `start` in characters, counted from 1.
    pub column: u32,
    /// Which file of the plan: 0 is the one that was named, the others are included by it.
    #[serde(skip)]
    pub file: u16,
}

impl Span {
    /// Its bytes, as a range of the file's text.
    pub const fn range(&self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }

    /// The place of a part of `text`, which stands here on one line.
    pub(crate) fn part(&self, text: &str, part: std::ops::Range<usize>) -> Span {
        let number = |it: usize| u32::try_from(it).unwrap_or(u32::MAX);
        Span {
            start: self.start + number(part.start),
            end: self.start + number(part.end),
            column: self.column + number(text[..part.start].chars().count()),
            ..*self
        }
    }
}

/// A second place that a finding speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Label {
    /// The file, as its reader called it.
    pub file: String,
    /// Where.
    pub span: Span,
    /// What is to be seen there.
    pub text: String,
}

/// One thing that is wrong with a file, or worth knowing about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which kind of thing.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// The file, as its reader called it.
    pub file: String,
    /// What is the matter, in one line.
    pub message: String,
    /// Where.
    pub span: Span,
    /// What is to be seen there, in a few words.
    pub label: String,
    /// Other places that belong to it.
    pub others: Vec<Label>,
    /// Why it matters.
    pub reason: String,
    /// What to change.
    pub help: Option<String>,
}

impl Finding {
    /// A finding with its code's own severity and reason, and nothing else said yet.
    pub(crate) fn new(code: Code, span: Span, message: impl Into<String>) -> Finding {
        Finding {
            code,
            severity: code.severity(),
            file: String::new(),
            message: message.into(),
            span,
            label: String::new(),
            others: Vec::new(),
            reason: code.reason().to_owned(),
            help: None,
        }
    }

    pub(crate) fn label(mut self, text: impl Into<String>) -> Finding {
        self.label = text.into();
        self
    }

    pub(crate) fn other(mut self, span: Span, text: impl Into<String>) -> Finding {
        self.others.push(Label { file: String::new(), span, text: text.into() });
        self
    }

    pub(crate) fn reason(mut self, text: impl Into<String>) -> Finding {
        self.reason = text.into();
        self
    }

    pub(crate) fn help(mut self, text: impl Into<String>) -> Finding {
        self.help = Some(text.into());
        self
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}

macro_rules! codes {
    ($($name:ident $text:literal $severity:ident $title:literal $reason:literal)*) => {
        /// The kinds of finding. A code keeps its meaning for ever; `mainstay explain` shows its page.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $title] $name,)*
        }

        impl Code {
            /// All of them, by number.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// The stable code: `MS` and four digits.
            pub const fn text(self) -> &'static str {
                match self { $(Code::$name => $text,)* }
            }

            /// What it is, in a few words.
            pub const fn title(self) -> &'static str {
                match self { $(Code::$name => $title,)* }
            }

            /// How bad it is.
            pub const fn severity(self) -> Severity {
                match self { $(Code::$name => Severity::$severity,)* }
            }

            /// Why it matters, where a finding has nothing more exact to say.
            pub const fn reason(self) -> &'static str {
                match self { $(Code::$name => $reason,)* }
            }

            /// Its page, in Markdown: what it means, why it matters, how to mend it, an example.
            pub const fn page(self) -> &'static str {
                match self {
                    $(Code::$name => include_str!(concat!("../../../docs/errors/", $text, ".md")),)*
                }
            }
        }
    };
}

codes! {
    Syntax "MS0001" Error "the file is not YAML"
        "nothing after this place could be read, so there may be more to find once it is mended"
    Tab "MS0002" Error "a tab in the indentation"
        "YAML allows only spaces there, because a tab has no agreed width and structure depends on it"
    Indentation "MS0003" Error "indentation that fits no level"
        "in YAML the indentation is the structure, so it is not clear where this line belongs"
    Limit "MS0004" Error "the file is too large or too deep"
        "a file is read completely into memory; the limits keep a broken or hostile one from exhausting it"
    Unsupported "MS0005" Error "YAML that plans do without"
        "a plan is read by people under stress: what stands in a place is what holds there"
    DuplicateKey "MS0006" Error "a key stands twice"
        "one of the two would silently win"
    Documents "MS0007" Error "not exactly one document"
        "a plan is one document, so that nobody wonders which part of the file holds"

    MissingField "MS0101" Error "a field is missing"
        "it has no default that would be right for everybody"
    UnknownField "MS0102" Error "an unknown field"
        "a misspelt field that is ignored would leave its default in force without a word"
    WrongType "MS0103" Error "a value of the wrong type"
        "a guess at what was meant could be wrong just when it counts"
    UnknownWord "MS0104" Error "an unknown word"
        "only these words have a meaning here"
    BadDuration "MS0105" Error "not a duration"
        "durations carry their unit, so that nobody takes seconds for milliseconds"
    BadAddress "MS0106" Error "not an address"
        "Mainstay connects to it or listens on it, so it must be exact"
    BadNumber "MS0107" Error "a number out of its range"
        "outside the range it would mean something else, or nothing"
    BadUrl "MS0108" Error "not a URL"
        "it is asked at the moment of failure, so it must be exact now"
    BadName "MS0109" Error "not a name"
        "names stand in the journal, in URLs and on the command line"
    Empty "MS0110" Error "empty where something is needed"
        "there would be nothing to do"
    Version "MS0111" Error "a version that this Mainstay does not know"
        "the same words may mean something else in another version"
    Variant "MS0112" Error "not exactly one choice"
        "each entry is one thing: its one key says which"
    Contradiction "MS0113" Error "fields that contradict each other"
        "only one of them can hold"
    OlderVersion "MS0114" Note "an older version of the grammar"
        "every version that ever was is read for ever, because journals hold plans; a person reads the newest more easily"
    Idle "MS0115" Note "checked and not acted on"
        "the plan may say it, people and proof may rely on it, and the agent does nothing about it yet"
    Include "MS0116" Error "an included file can't be used"
        "a plan of which a part is missing would recover only a part"
    VariableUnset "MS0117" Error "a variable that is not set"
        "an address or a secret that is guessed, or empty, would be found wrong at the moment of failure"
    VariableUnknown "MS0118" Error "a variable that nothing names"
        "the environment is read only where a plan says so by name"
    VariableUnused "MS0119" Warning "a variable that nothing uses"
        "whoever sets it believes that it matters"
    SecretShown "MS0120" Error "a secret where it would be shown"
        "journals, screens and lists of processes are read by more people than may know it"

    UnknownReference "MS0201" Error "a name that nothing has"
        "what it stands for would be missing at the moment of failure"
    NameTaken "MS0202" Error "a name used twice"
        "journal, commands and routes speak of instances by name, so a name must mean one thing"
    Cycle "MS0203" Error "components depend on each other in a circle"
        "none of them could be recovered first"
    StandbyShared "MS0204" Error "a standby of two components"
        "when both fail together it can save only one of them, and nothing says which"
    StandbyUnused "MS0205" Warning "a standby that nothing uses"
        "it costs money and is part of no recovery; the plan leaves it out"
    ListenTwice "MS0206" Error "an address or a DNS name used twice"
        "only one of them can have it"
    MixedRoute "MS0207" Error "an exclusive route with two owners"
        "one target at a time may serve an exclusive route, and one component decides which"
    TargetMissing "MS0208" Error "a route without a target for an instance"
        "after the takeover the route would point at nothing"
    NoListener "MS0209" Error "a route without its listener"
        "the traffic process would not know where to answer"
    NoFront "MS0210" Error "a route that nobody can use"
        "clients reach a route by its proxy, its name, its beacon or its agent-check"

    Timing "MS0301" Error "probe times that contradict each other"
        "probes run start to start and never overlap, so that the time to detect a failure can be computed"
    DownWhen "MS0302" Error "more failing probes asked for than there are"
        "the instance could never be found down"
    WitnessNeed "MS0303" Error "more witnesses asked for than there are"
        "no recovery could ever begin"
    Expression "MS0310" Error "an expression that can't be read"
        "a rule decides about a recovery, so it must have one reading only"
    ExpressionTypes "MS0311" Error "values in an expression that don't fit together"
        "values of different types can't be compared, and a guess at what was meant could be wrong just when it counts"
    NotObserved "MS0312" Error "a rule about something that nothing observes"
        "its value would never be known, and the rule would never speak"
    NeverChanges "MS0313" Warning "a condition that never changes"
        "it decides nothing, so it is probably not what was meant"
    TooFine "MS0314" Warning "a time finer than what is observed"
        "between two answers of a probe nothing is learnt"
    Ambiguous "MS0315" Error "a name with more than one meaning"
        "the rule could speak about the wrong one"

    FenceMissing "MS0401" Error "a takeover without a fence"
        "the old owner may be alive and cut off from us only: both would accept writes"
    CutIsNoFence "MS0402" Error "cutting traffic fences nothing here"
        "a fence must be confirmed; clients that already know the old target's address keep using it"
    ServiceMissing "MS0403" Error "no service to act on"
        "Mainstay can start and stop only what it was told how to"
    TwoWriters "MS0404" Warning "two writers are accepted"
        "for a while two instances may both accept writes, and one side's writes will have to be given up"
    FenceTwice "MS0405" Error "a fence in two places"
        "only one place can say how the old owner is fenced: the route, where there is an exclusive one"

    FenceOutOfReach "MS0406" Error "a fence on a machine where Mainstay has no hands"
        "this agent would look at a service of its own machine, find nothing that runs, and take the old owner for stopped"

    NoHost "MS0407" Error "something for a host where there is none"
        "what only a host could do or hold would be missing at the moment of failure"
    HostLease "MS0408" Error "times of a lease that don't fit together"
        "a lease that ends too soon stops what is healthy; one that is given away too soon has two holders"
    NoLink "MS0409" Error "hosts without a link"
        "a host that can't reach its agent does nothing, and stops what it holds a lease for"
    NobodyAgrees "MS0410" Error "nobody to agree that a component stays"
        "its host would stop it, although the plan says that it stays without the agent"

    PostgresMissing "MS0411" Error "no PostgreSQL server to ask or to act on"
        "Mainstay asks, promotes and re-points only servers that it was told how to reach"
    WaitsForNobody "MS0412" Error "standbys that are waited for in vain"
        "a new primary would refuse the setting, or never acknowledge a write"
    OutsideItsUnit "MS0413" Error "a server that is started outside of its unit"
        "systemd stops nothing of a server that it has not started, and says that the unit is stopped: a fence would count that is none"

    OverRto "MS0501" Warning "the worst case is over the recovery time objective"
        "the objective would be missed although everything works as planned"
    LagUnknown "MS0502" Warning "a recovery point objective that nothing measures"
        "a standby whose position is unknown does not take over without an operator's word"
    NoRecovery "MS0503" Warning "nothing recovers the loss of the instance"
        "the component is down until a person acts"
    ZoneLoss "MS0504" Note "the loss of the zone is not survived"
        "the component is down until the zone is back or a person acts"
    NoWitness "MS0505" Warning "no witness"
        "when the agent's own network breaks, everything looks down, and a takeover would be wrong"
    TcpOnly "MS0506" Warning "only TCP connections are checked"
        "the kernel accepts connections for a process that hangs, and our own proxy accepts before it knows its target"
    ColdStandby "MS0507" Warning "a cold standby of a critical component"
        "starting what is stopped needs a control plane, which may be gone exactly when everybody recovers"
    ControlPlaneOnly "MS0508" Warning "every recovery needs a control plane"
        "control planes fail and queue up exactly when everybody recovers"
    NoHands "MS0509" Warning "a service on a machine where Mainstay has no hands"
        "a unit and a pid file are looked for on the machine where the agent runs, which is another one"

    LittleRoom "MS0510" Warning "an availability target with little room for failures"
        "a year's allowance is spent by a few failures that are all recovered as planned"
    SlowForTarget "MS0511" Warning "an availability target that rests on a slow recovery"
        "backups and control planes take longest exactly when everybody recovers, and the target leaves no time to wait for them"
    RegionRto "MS0512" Warning "a region that is recovered sooner than a zone"
        "the loss of a region takes its zones with it, so whoever waits for the shorter of the two will be disappointed"
    DependencyPromise "MS0513" Warning "a promise that a dependency does not keep"
        "a component is down for its clients as long as what it depends on"
    DependencyCriticality "MS0514" Warning "something critical depends on something less critical"
        "what is critical is only as safe as what it can't work without"
    SlowDetection "MS0515" Note "detection takes more than half of the recovery time objective"
        "the time in which a failure is only noticed is missing for its recovery"
    LongTtl "MS0516" Warning "a TTL that takes most of the recovery time objective"
        "clients go on with the address that they know until its TTL is over, whatever was recovered meanwhile"
    WeakVerify "MS0517" Warning "a route that is verified past its clients"
        "a recovery is called complete by what its verification saw, and clients may see something else"
    BackupLoss "MS0518" Warning "backups that lose more than the recovery point objective"
        "what was written since the newest usable backup is gone after a restore"
    BackupKept "MS0519" Warning "backups are not kept long enough"
        "a backup that turns out to be unusable is replaced by the one before, if there is one"
    BackupOverlap "MS0520" Warning "a backup takes longer than its interval"
        "the next one is due before it ends: they overlap, or one of them is left out"
    BackupTogether "MS0521" Warning "backups are lost with what they protect"
        "they are needed exactly when it is gone"
    RestoreOfWhat "MS0522" Note "a restore that names no backup"
        "nothing tells where it is restored from, how old it is, and how much is lost"
    NeverRestored "MS0523" Warning "backups that nobody restores"
        "whether a backup can be used is known when it has been used"
    ArchiveUseless "MS0524" Warning "an archive that is further behind than the backups"
        "an archive of changes is there to lose less than the backups alone"
    Flapping "MS0525" Warning "one failed answer is enough"
        "a packet that is lost, or a pause of a second, is no failure; recovering it is one"
    CoolDown "MS0526" Note "a cool-down that does not fit"
        "it has to be longer than a recovery to end a circle of them, and shorter than an outage that may be waited for"
    WeakWitness "MS0527" Warning "witnesses that can't tell"
        "a witness is asked whether our own path works, so it must answer only by that path, and fail with nothing else"
    NobodyTold "MS0528" Warning "nobody may hear of it"
        "a recovery that waits, fails or succeeds with half of the safety left needs a person who knows"
    LateApproval "MS0529" Note "an approval may come too late"
        "while a person is asked nothing is done, and the worst case does not count it"
    NotDrilled "MS0530" Note "a recovery that is not rehearsed"
        "a recovery that nobody has seen work is a guess, however well it is proved"
    SharedFate "MS0531" Warning "what fails together with what recovers it"
        "one failure takes both, and nothing is left to recover with"
    ByName "MS0532" Note "a recovery that needs a name server"
        "a probe that can't look its name up could not ask: its answer is unknown, and unknown is never down"
    EvacuationShort "MS0533" Warning "an evacuation that can't do what it is for"
        "it is found out when the zone is lost"
    RungOrder "MS0534" Note "a rung in the wrong place"
        "a ladder is climbed from the first rung to the last, so the order decides what is tried at all"
    NobodyTakes "MS0535" Warning "backups on a machine where Mainstay has no hands"
        "neither is a backup taken nor one restored for a test, and it is missing when it is needed"
    SeriesTogether "MS0536" Error "two series of backups in one place"
        "what one of them keeps no longer is removed from the other, too"

    NeverRetried "MS0540" Warning "a wait between attempts that does nothing"
        "whoever reads it believes that it is tried more gently than it is"
    NobodyMay "MS0541" Error "a role that too few people have"
        "the question could never be answered, and it would be found out during an outage"
    NothingBefore "MS0542" Warning "an action that begins with nothing"
        "whoever reads it believes that two things are done at the same time"
    PreconditionMoot "MS0543" Warning "a precondition that says nothing, or never holds"
        "a rung that is never tried looks like a recovery, and is none"
    AddressUnused "MS0544" Warning "a new address that nobody uses"
        "whoever reads it believes that clients and probes follow the instance"
    AddressMisfits "MS0545" Warning "what does not go along to a new address"
        "it is found out when the instance is there, and its probes say that it is down"

    NeverTold "MS0550" Warning "an evacuation that never begins"
        "its components are recovered one by one, in no order, and restarts are tried in a zone that is lost"
    RuleOfOne "MS0560" Warning "a rule about a component that looks at one instance"
        "after a takeover it still looks at the old instance, and accuses the new one"
    RuleIdle "MS0561" Warning "a rule from which nothing follows"
        "it is watched, shown and told, and nothing is recovered"
    RuleOfUnknown "MS0562" Warning "a rule about what nobody knows anything of"
        "unknown is never down: an instance that could not be asked is not touched, whatever a rule says"

    OneSignal "MS0570" Note "one kind of signal moves something critical"
        "what deceives one kind of probe deceives it however often it is asked"
    VainRule "MS0571" Warning "a rule of a route that can't be kept"
        "a rule that always or never holds is not what was meant, and is found out when it counts"
    CopyOutlives "MS0572" Warning "a route that is cut and goes on in a copy"
        "a secondary answers what it copied, and is told of a table and not of silence"

    ControlUnused "MS0580" Warning "a control plane that nothing needs"
        "its canary is asked all the time, and no recovery depends on the answer"

    NeverGoesBack "MS0582" Warning "a component that never goes back by itself"
        "whoever reads `failback: when_whole` counts on it, and it is never done"

    LeaseTooShort "MS0590" Error "a lease that is over before it is renewed"
        "an agent that was stopped must find that its lease is over before another agent gets it"
    LeaseOneTry "MS0591" Warning "a lease that is lost with one answer"
        "a store that does not answer once, which happens, ends it"
    NoCoordination "MS0592" Warning "agents that can't agree, or one that need not"
        "who may decide has to be settled before the failure, not during it"
    ObserverNeed "MS0593" Warning "more observers asked for than there are agents"
        "the recovery will wait for ever, or for a person"
    AloneExclusive "MS0594" Warning "two agents may act on what is exclusive"
        "an agent that can't reach the store can't know that no other one acts"
    HeardNothing "MS0595" Warning "a channel that is never told anything"
        "whoever reads the plan under stress counts on it"
    QuietQuestion "MS0596" Warning "a question that is asked while nobody is told"
        "quiet times hold the question back, and it expires in the meantime"
    RestartEndsLeases "MS0597" Warning "a restart of the agent that ends leases"
        "whoever holds a lease stops what it runs when the agent is away for longer"
    WaitsForAll "MS0598" Warning "every standby is waited for"
        "the first standby that is lost stops all writes, although the primary works"

    TokenInClear "MS0610" Warning "tokens that travel in the clear"
        "whoever listens on the way can say that a job works which does not"
    NobodyCalls "MS0611" Warning "calls of jobs for which nobody waits"
        "a job that calls seems to be watched, and nobody notices when it stops"
}

/// The page of a code, in Markdown. `code` may be written in any case (`ms0102`); `None` if there is no such code.
pub fn explain(code: &str) -> Option<&'static str> {
    Code::ALL.iter().find(|it| it.text().eq_ignore_ascii_case(code.trim())).map(|it| it.page())
}
