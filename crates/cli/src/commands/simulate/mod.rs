//! `mainstay simulate`: what a plan would live through. One file for each way to ask.

mod compare;
mod html;
mod scenario;
mod story;
mod trials;

use std::path::PathBuf;
use std::time::Duration;

use mainstay_plan::{Plan, Proof};
use mainstay_sim::reliability::{Options, Rates, Shown, rates_file};

use super::Cx;
use crate::clock;
use crate::exit::{Answer, Failure};
use crate::look::say;
use crate::plan_file::{PlanFile, unreadable};

/// Say what a plan would live through: one failure, or years of them
///
/// Plays many years of the plan in virtual time: instances, hosts, zones and regions fail and are repaired, recoveries run as the proof
/// says, within its bounds. Says how long recoveries take by phase, what is lost, how much of the time clients are served,
/// who spends the error budget and on what. It is a model of the plan, and says what it leaves out. How often things fail is
/// not in the plan: `--rates` names a file that says so, and what it does not say is assumed and listed.
///
/// With `--scenario`, one failure is played instead, through the engine that the agent runs: what is seen and decided and done, when, when
/// clients are back, and what nobody recovers and why, beside what `mainstay check` proves. With `--story`, everything goes wrong that can,
/// by chance, and what the agent made of it is told; without a plan, on one that Mainstay itself is tested with.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  mainstay simulate mainstay.yaml
  mainstay simulate mainstay.yaml --rates rates.yaml --trials 100000
  mainstay simulate mainstay.yaml --measured --state /var/lib/mainstay
  mainstay simulate mainstay.yaml --compare backup-restore,pilot-light,warm-standby,active-active
  mainstay simulate mainstay.yaml --json | jq '.report.site.spends'
  mainstay simulate mainstay.yaml --scenario list
  mainstay simulate mainstay.yaml --scenario zone-loss:us-east-1a
  mainstay simulate mainstay.yaml --scenario instance-loss:orders-db+agent_restarts --people 5m
  mainstay simulate mainstay.yaml --scenario zone-loss:us-east-1a --html zone.html
  mainstay simulate mainstay.yaml --html report.html
  mainstay simulate mainstay.yaml --story --seed 7
  mainstay simulate --seed 7 --story

Exit codes:
  0  it was played, whatever came of it
  1  findings of severity error: there is no plan; or something that must always hold did not, which
     is a defect of Mainstay
  2  a file can't be read, the rates are wrong, or that is no scenario of the plan
  3  `--measured` or `--measured-failures`, and there is no journal")]
pub(crate) struct Simulate {
    /// The plan; `-` reads standard input
    #[arg(required_unless_present = "seed")]
    file: Option<PathBuf>,
    /// Play one failure: {instance,host,zone,region}-loss:NAME, and what else is missing after a plus; `list` shows all that can be said
    #[arg(long, value_name = "LOSS:NAME[+CONDITION]", requires = "file")]
    #[arg(conflicts_with_all = ["compare", "measured", "rates", "seed", "trials", "years", "confidence"])]
    scenario: Option<String>,
    /// In a scenario, let people do what they are asked for after so long; left out, nobody does
    #[arg(long, value_name = "DURATION", value_parser = clock::parse, requires = "scenario")]
    people: Option<Duration>,
    /// How many histories are played
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    #[arg(value_parser = clap::value_parser!(u32).range(2..=10_000_000))]
    trials: u32,
    /// How many years each of them lasts
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    years: u32,
    /// The same seed gives the same answer [default: 1]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Tell what happens in the trial of that seed, in which whatever can go wrong may
    #[arg(long)]
    #[arg(conflicts_with_all = ["scenario", "compare", "measured", "rates", "json", "components", "all", "trials", "years", "confidence"])]
    story: bool,
    /// How sure intervals are, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 95)]
    #[arg(value_parser = clap::value_parser!(u32).range(50..=99))]
    confidence: u32,
    /// A file that says how often things fail and how long people take
    #[arg(long, value_name = "FILE")]
    rates: Option<PathBuf>,
    /// Take the times of recoveries from the journal in the state directory
    #[arg(long, conflicts_with = "compare")]
    measured: bool,
    /// Take how often instances fail, and how long they stay away, from the journal; what was broken on purpose counts, too
    #[arg(long, conflicts_with_all = ["compare", "scenario", "story"])]
    measured_failures: bool,
    /// Play the same workload under these strategies instead: backup-restore, pilot-light, warm-standby, active-active
    #[arg(long, value_name = "STRATEGY,…", value_delimiter = ',')]
    compare: Vec<String>,
    /// Show this component alone; can be given more than once
    #[arg(long = "component", value_name = "NAME", conflicts_with_all = ["json", "compare", "all"])]
    components: Vec<String>,
    /// Show every component, however many there are
    #[arg(long, conflicts_with_all = ["json", "compare"])]
    all: bool,
    /// Answer as JSON
    #[arg(long)]
    json: bool,
    /// Write one HTML file with pictures instead, that needs nothing beside it; `-` writes to standard output
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "story"])]
    html: Option<PathBuf>,
}

impl Simulate {
    pub(crate) fn run(self, cx: &Cx) -> Result<Answer, Failure> {
        let seed = self.seed.unwrap_or(1);
        let Some(file) = &self.file else { return story::of_ours(seed, self.story) };
        let file = PlanFile::read(file)?;
        let rates = self.rates()?;
        let mut checked = file.check();
        let Some(plan) = checked.compiled.plan.take() else {
            say(&checked.refusal(cx.look.colour))?;
            return Ok(Answer::No);
        };
        if self.story {
            return story::of_plan(seed, plan);
        }
        self.play(cx, &file.name, &plan, rates)?;
        Ok(Answer::Yes)
    }

    /// How it is asked decides what is played.
    fn play(&self, cx: &Cx, name: &str, plan: &Plan, rates: Rates) -> Result<(), Failure> {
        if self.scenario.as_deref() == Some(scenario::LIST) {
            return scenario::list(name, plan, self.json);
        }
        if let Some(asked) = &self.scenario {
            let options = mainstay_sim::scenario::Options { people: self.people };
            let told = scenario::play(&Proof::of(plan), asked, &options)?;
            let shown = self.shown(plan)?;
            if let Some(file) = &self.html {
                return html::write(file, &told.html(plan, &shown));
            }
            return scenario::answer(name, plan, &told, &shown, self.json);
        }
        if !self.compare.is_empty() {
            let comparison = compare::play(plan, &rates, &self.compare, &self.options())?;
            if let Some(file) = &self.html {
                return html::write(file, &comparison.html(&plan.site.name));
            }
            return compare::answer(name, plan, &comparison, self.json);
        }
        let known = trials::Known::of(cx, plan, self.measured, self.measured_failures)?;
        let shown = self.shown(plan)?;
        let played = trials::play(plan, rates, &self.options(), &known)?;
        if let Some(file) = &self.html {
            return html::write(file, &played.html(plan, &shown));
        }
        trials::answer(name, plan, &played.report, &shown, self.json)
    }

    fn shown(&self, plan: &Plan) -> Result<Shown, Failure> {
        if let Some(name) = self.components.iter().find(|it| plan.component_named(it).is_none()) {
            return Err(Failure::usage(format!("there is no component `{name}`")));
        }
        Ok(match (self.all, self.components.is_empty()) {
            (true, _) => Shown::All,
            (false, true) => Shown::Usual,
            (false, false) => Shown::Named(self.components.clone()),
        })
    }

    fn options(&self) -> Options {
        Options {
            trials: self.trials as usize,
            years: f64::from(self.years),
            seed: self.seed.unwrap_or(1),
            confidence: f64::from(self.confidence) / 100.0,
        }
    }

    fn rates(&self) -> Result<Rates, Failure> {
        let Some(path) = &self.rates else { return Ok(Rates::of(rates_file::RatesFile::default())) };
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| match unreadable(&name, &error) {
            // A plan can be written by `init`, rates can't.
            failure if error.kind() == std::io::ErrorKind::NotFound => {
                Failure { help: Some(HELP.to_owned()), ..failure }
            }
            failure => failure,
        })?;
        let file = rates_file::read(&text)
            .map_err(|why| Failure::usage(format!("the rates in `{name}` are wrong: {why}")).help(HELP))?;
        Ok(Rates::of(file))
    }
}

/// What to do about rates.
const HELP: &str = "docs/simulate.md shows what such a file holds; without one, defaults are assumed and listed";
