//! What the arguments of functions stand for: healths, subjects, scopes, instances, probes, percentiles and windows.

use std::time::Duration;

use super::check::Check;
use super::names::{Found, Places};
use super::parser::{Argument, ArgumentKind, Word};
use crate::config::fields::in_words;
use crate::config::scalar;
use crate::finding::Code;
use crate::observation::Health;
use crate::probe::Watches;
use crate::rule::{LONGEST_WINDOW, Percentile, Piece, Scope, Subject};
use crate::{InstanceIx, ProbeIx};

impl Check<'_> {
    /// The one word that an argument has to be.
    fn one<'w>(&self, argument: &'w Argument, wanted: &str) -> Option<&'w Word> {
        match &argument.kind {
            ArgumentKind::One(word) => Some(word),
            ArgumentKind::Two(..) | ArgumentKind::List(_) => {
                self.wrong_argument(argument, wanted);
                None
            }
        }
    }

    fn wrong_argument(&self, argument: &Argument, wanted: &str) {
        let quote = self.ink.quote(argument.at);
        self.ink.report(
            self.ink
                .finding(Code::Expression, argument.at, format!("{quote} stands where {wanted} should"))
                .label(format!("expected {wanted}")),
        );
    }

    /// One of a few words.
    pub(super) fn choose<T: Copy>(&self, argument: &Argument, all: &[(&'static str, T)], wanted: &str) -> Option<T> {
        let words: Vec<String> = all.iter().map(|(word, _)| format!("`{word}`")).collect();
        let list = in_words(&words, "or");
        let word = self.one(argument, &list)?;
        if let Some((_, found)) = all.iter().find(|(it, _)| *it == word.text) {
            return Some(*found);
        }
        let finding = self
            .ink
            .finding(Code::UnknownWord, word.at, format!("{} has no meaning here", self.ink.quote(word.at)))
            .help(format!("{wanted} {list}"));
        self.ink.report(match self.ink.cx.nearest(&word.text, all.iter().map(|(it, _)| *it)) {
            Some(near) => finding.label(format!("did you mean `{near}`?")),
            None => finding.label("unknown word"),
        });
        None
    }

    pub(super) fn health(&self, argument: &Argument) -> Option<Health> {
        self.choose(argument, &Health::ALL.map(|it| (it.word(), it)), "a health comes first:")
    }

    pub(super) fn subject(&self, argument: &Argument) -> Option<Subject> {
        const WANTED: &str = "a component, an instance or a witness";
        match &argument.kind {
            ArgumentKind::One(word) => match self.names.subject(&word.text) {
                Ok(Some(subject)) => Some(subject),
                Ok(None) => {
                    let names = self.names.instance_names().chain(self.names.witness_names());
                    self.ink.unknown(&word.text, word.at, "component, instance or witness", names);
                    None
                }
                Err([one, other]) => {
                    let text = self.ink.text(word.at);
                    self.ink.report(
                        self.ink
                            .finding(Code::Ambiguous, word.at, format!("`{text}` is a {one} and a {other}"))
                            .label("which of them?")
                            .help(format!("write `{one} {text}` or `{other} {text}`")),
                    );
                    None
                }
            },
            ArgumentKind::Two(kind, name) => match kind.text.as_str() {
                "component" => {
                    let found = self.names.components.get(name.text.as_str()).map(|it| Subject::Component(*it));
                    self.named(found, name, "component", self.names.component_names())
                }
                "instance" => {
                    let found = self.names.instances.get(name.text.as_str()).map(|it| Subject::Instance(*it));
                    self.named(found, name, "instance", self.names.instance_names())
                }
                "witness" => {
                    let found = self.names.witnesses.get(name.text.as_str()).map(|it| Subject::Witness(*it));
                    self.named(found, name, "witness", self.names.witness_names())
                }
                _ => {
                    self.unknown_kind(kind, &["component", "instance", "witness"]);
                    None
                }
            },
            ArgumentKind::List(_) => {
                self.wrong_argument(argument, WANTED);
                None
            }
        }
    }

    /// `found`, or a finding that nothing has this name.
    fn named<'n, T>(
        &self,
        found: Option<T>,
        name: &Word,
        what: &str,
        names: impl Iterator<Item = &'n str> + Clone,
    ) -> Option<T> {
        if found.is_none() {
            self.ink.unknown(&name.text, name.at, what, names);
        }
        found
    }

    fn unknown_kind(&self, kind: &Word, kinds: &[&'static str]) {
        let list: Vec<String> = kinds.iter().map(|it| format!("`{it}`")).collect();
        let finding = self
            .ink
            .finding(Code::UnknownWord, kind.at, format!("{} has no meaning here", self.ink.quote(kind.at)))
            .help(format!("before a name stands {}", in_words(&list, "or")));
        self.ink.report(match self.ink.cx.nearest(&kind.text, kinds.iter().copied()) {
            Some(near) => finding.label(format!("did you mean `{near}`?")),
            None => finding.label("unknown word"),
        });
    }

    pub(super) fn scope(&self, argument: &Argument) -> Option<Scope> {
        match &argument.kind {
            ArgumentKind::One(word) if word.text == "all" && !word.quoted => {
                if self.names.plan.instances.is_empty() {
                    self.ink.report(
                        self.ink
                            .finding(Code::NotObserved, word.at, "the plan has no instance")
                            .label("none of them")
                            .help("add a component"),
                    );
                    return None;
                }
                Some(Scope::All)
            }
            ArgumentKind::One(word) => {
                let text = self.ink.text(word.at);
                let finding = self
                    .ink
                    .finding(Code::Expression, word.at, format!("`{text}` does not say what it is"))
                    .label("a zone, a region, a host, a component?");
                self.ink.report(match self.names.scope_named(&word.text, text) {
                    Some(scope) => finding.help(format!("write `{scope}`")),
                    None => finding.help(
                        "write `all`, `zone REGION/ZONE`, `region NAME`, `host NAME`, `component NAME` or `[INSTANCE, …]`",
                    ),
                });
                None
            }
            ArgumentKind::Two(kind, name) => match kind.text.as_str() {
                "region" => self.place(&self.names.regions, name),
                "zone" => self.place(&self.names.zones, name),
                "host" => self.place(&self.names.hosts, name),
                "component" => {
                    let found = self.names.components.get(name.text.as_str()).map(|it| Scope::Component(*it));
                    self.named(found, name, "component", self.names.component_names())
                }
                _ => {
                    self.unknown_kind(kind, &["zone", "region", "host", "component"]);
                    None
                }
            },
            ArgumentKind::List(words) => self.list(words),
        }
    }

    fn place(&self, places: &Places, name: &Word) -> Option<Scope> {
        match places.find(&name.text) {
            Found::One(place) => Some(place.scope.clone()),
            Found::Several(several) => {
                let list: Vec<String> = several.iter().take(6).map(|it| format!("`{}`", *it)).collect();
                self.ink.report(
                    self.ink
                        .finding(
                            Code::Ambiguous,
                            name.at,
                            format!("there is more than one {} {}", places.what, self.ink.quote(name.at)),
                        )
                        .label("which of them?")
                        .help(format!("write it in full: {}", in_words(&list, "or"))),
                );
                None
            }
            Found::None => {
                self.ink.unknown(&name.text, name.at, places.what, places.full_names());
                None
            }
        }
    }

    fn list(&self, words: &[Word]) -> Option<Scope> {
        let mut list: Vec<(InstanceIx, Piece)> = Vec::new();
        let mut whole = true;
        for word in words {
            let found = self.names.instances.get(word.text.as_str()).copied();
            let Some(ix) = self.named(found, word, "instance", self.names.instance_names()) else {
                whole = false;
                continue;
            };
            if let Some((_, first)) = list.iter().find(|(it, _)| *it == ix) {
                let message = format!("{} stands twice in this list", self.ink.quote(word.at));
                let finding = self.ink.finding(Code::Expression, word.at, message);
                self.ink.report(
                    self.ink
                        .beside(finding, *first, "the first")
                        .label("again")
                        .reason("each instance is counted once")
                        .help("remove one of them"),
                );
                whole = false;
                continue;
            }
            list.push((ix, word.at));
        }
        whole.then(|| Scope::Instances(list.into_iter().map(|(it, _)| it).collect()))
    }

    /// Whether anything is ever learnt about a subject.
    pub(super) fn is_probed(&self, subject: Subject, at: Piece) -> Option<()> {
        if !self.names.probes_of(subject).is_empty() {
            return Some(());
        }
        self.ink.report(
            self.ink
                .finding(Code::NotObserved, at, format!("nothing observes {}", self.ink.quote(at)))
                .label("it has no probe")
                .help("give it a probe"),
        );
        None
    }

    pub(super) fn lag(&self, argument: &Argument) -> Option<InstanceIx> {
        let word = match &argument.kind {
            ArgumentKind::One(word) => word,
            ArgumentKind::Two(kind, word) if kind.text == "instance" => word,
            ArgumentKind::Two(..) | ArgumentKind::List(_) => {
                self.wrong_argument(argument, "an instance");
                return None;
            }
        };
        let found = self.names.instances.get(word.text.as_str()).copied();
        let ix = self.named(found, word, "instance", self.names.instance_names())?;
        if self.names.plan.instance(ix).reports_lag {
            return Some(ix);
        }
        self.ink.report(
            self.ink
                .finding(Code::NotObserved, word.at, format!("instance `{}` reports no lag", word.text))
                .label("none of its probes does")
                .help(
                    "let one of its probes report the lag: `lag_header` of http, `lag: stdout` of command, or `file`",
                ),
        );
        None
    }

    pub(super) fn percentile(&self, argument: &Argument) -> Option<Percentile> {
        let word = self.one(argument, "a percentile such as `p95`")?;
        let percentile = percentile_of(&word.text);
        if percentile.is_none() {
            let quote = self.ink.quote(word.at);
            self.ink.report(
                self.ink
                    .finding(Code::UnknownWord, word.at, format!("{quote} is no percentile"))
                    .label("`p1` to `p99`")
                    .help("write for example `p50` for half of the answers, `p95` for 95 of 100"),
            );
        }
        percentile
    }

    pub(super) fn probe(&self, argument: &Argument) -> Option<ProbeIx> {
        let word = self.one(argument, "a probe")?;
        let found = self.names.probes.get(word.text.as_str()).copied();
        let ix = self.named(found, word, "probe", self.names.probe_names())?;
        let probe = self.names.plan.probe(ix);
        let finding = |message: String| self.ink.finding(Code::NotObserved, word.at, message);
        match probe.watches {
            Watches::Route(_) => {
                self.ink.report(
                    finding(format!("probe `{}` asks only to verify a recovery", probe.name))
                        .label("silent at all other times")
                        .help("name a probe of an instance or a witness"),
                );
                None
            }
            Watches::Instance(_) | Watches::Witness(_) | Watches::Control(_) if !probe.kind.reports_latency() => {
                self.ink.report(
                    finding(format!("probe `{}` has no latency", probe.name))
                        .label(format!("`{}` asks nobody who could be slow", probe.kind.word()))
                        .help("name a probe of kind `tcp`, `http`, `dns` or `command`"),
                );
                None
            }
            Watches::Instance(_) | Watches::Witness(_) | Watches::Control(_) => Some(ix),
        }
    }

    pub(super) fn window(&self, argument: &Argument) -> Option<Duration> {
        let word = self.one(argument, "a duration")?;
        let window = self.positive(word)?;
        if window > LONGEST_WINDOW {
            let longest = scalar::show_duration(LONGEST_WINDOW);
            self.ink.report(
                self.ink
                    .finding(Code::BadDuration, word.at, format!("{} is too long a window", self.ink.quote(word.at)))
                    .label(format!("{longest} at most"))
                    .reason("all answers of the window are kept in memory"),
            );
            return None;
        }
        Some(window)
    }
}

/// `p95`, with one spelling for each.
pub(super) fn percentile_of(text: &str) -> Option<Percentile> {
    let digits = text.strip_prefix('p').filter(|it| !it.starts_with(['0', '+']))?;
    Percentile::new(digits.parse().ok()?)
}
