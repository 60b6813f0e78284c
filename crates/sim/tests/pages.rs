//! What a page owes its reader: it is whole, it needs nothing beside it, no text of a picture runs out of it or over another,
//! and it says what the text and the data say.

use std::path::Path;

use mainstay_plan::picture::lettering::text_width;
use mainstay_plan::{Plan, Proof, Surroundings, compile_in};
use mainstay_sim::page::Drawn;
use mainstay_sim::reliability::{Comparison, Model, Options, Rates, Report, Shown, compare, rates_file, trials};
use mainstay_sim::scenario::{self, Scenario, Told};
use roxmltree::{Document, Node, ParsingOptions};

fn compiled(text: &str) -> Plan {
    let around = Surroundings {
        read: &|_| Err("it stands alone".to_owned()),
        variable: &|it| (it == "SHOP_PAGER_TOKEN").then(|| "hush".to_owned()),
        needs_secrets: true,
    };
    let compiled = compile_in("plan.yaml", text, Path::new("/"), &around);
    compiled.plan.unwrap_or_else(|| panic!("{:#?}", compiled.findings))
}

fn plans() -> Vec<Plan> {
    let texts = [
        include_str!("../../../examples/single-database.yaml"),
        include_str!("../../../examples/hybrid.yaml"),
        include_str!("../../../examples/active-active.yaml"),
        include_str!("plans/shop.yaml"),
    ];
    texts.into_iter().map(compiled).collect()
}

/// A name that is markup, if nobody minds it.
fn hostile() -> Plan {
    let mut plan = compiled(include_str!("../../../examples/single-database.yaml"));
    plan.site.name = "<script>alert(1)</script> & \"co\"".to_owned();
    plan.components[0].name = "a<b>&\u{7}c".to_owned();
    plan
}

const OPTIONS: Options = Options { trials: 200, years: 1.0, seed: 5, confidence: 0.95 };

fn of_trials(plan: &Plan) -> String {
    let model = Model::of(&Proof::of(plan), Rates::of(rates_file::RatesFile::default())).expect("a model");
    let tally = trials::play(&model, &OPTIONS);
    Report::of(&model, &OPTIONS, &tally).html(&Drawn { plan, model: &model, tally: &tally }, &Shown::All)
}

fn of_comparison(plan: &Plan) -> String {
    let rates = Rates::of(rates_file::RatesFile::default());
    let names = compare::NAMES.map(|it| it.0.to_owned());
    let candidates = compare::candidates(&names, &rates).expect("they are known");
    Comparison::of(plan, &rates, &candidates, &OPTIONS).expect("it fits").html(&plan.site.name)
}

fn of_scenario(plan: &Plan, nth: usize) -> String {
    let proof = Proof::of(plan);
    let all = scenario::Sayable::of(&proof).scenarios;
    let lost: Vec<_> = all.iter().filter(|it| !it.components.is_empty()).collect();
    let scenario = Scenario::parse(&lost[nth % lost.len()].scenario, plan).expect("it can be said");
    let told = Told::of(&proof, &scenario, &scenario::Options::default()).expect("nothing is violated");
    told.html(plan, &Shown::All)
}

fn pages() -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for (nth, plan) in plans().into_iter().chain([hostile()]).enumerate() {
        all.extend([of_trials(&plan), of_comparison(&plan), of_scenario(&plan, nth), of_scenario(&plan, usize::MAX)]);
    }
    all
}

fn parsed(page: &str) -> Document<'_> {
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    Document::parse_with_options(page, options).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_page_is_whole_and_needs_nothing_beside_it() {
    for page in pages() {
        let document = parsed(&page);
        let root = document.root_element();
        assert_eq!(root.attribute("lang"), Some("en"));
        assert_eq!(root.descendants().filter(|it| it.has_tag_name(("http://www.w3.org/1999/xhtml", "h1"))).count(), 1);
        for node in root.descendants().filter(Node::is_element) {
            let name = node.tag_name().name();
            assert!(!["script", "link", "iframe", "img", "object", "image", "use", "a"].contains(&name), "{name}");
            for it in node.attributes() {
                assert!(!it.name().starts_with("on") && !["src", "href", "style"].contains(&it.name()), "{it:?}");
            }
        }
        let style: String = root
            .descendants()
            .filter(|it| it.has_tag_name(("http://www.w3.org/1999/xhtml", "style")))
            .filter_map(|it| it.text())
            .collect();
        assert!(!style.contains("url(") && !style.contains("@import") && style.contains("@page { size: A4"), "{style}");
        assert!(style.contains("prefers-color-scheme: dark"));
        // Each class that a picture uses is one that the style sheet has.
        for node in root.descendants().filter(|it| it.tag_name().namespace() == Some(SVG)) {
            for class in node.attribute("class").unwrap_or_default().split_whitespace() {
                assert!(style.contains(&format!(".{class} ")), "{class}");
            }
        }
        assert!(page.is_ascii() || page.contains("charset=\"utf-8\""));
    }
}

const SVG: &str = "http://www.w3.org/2000/svg";

/// Where a text stands: its line, and from where to where.
fn extent(node: &Node<'_, '_>) -> (f64, f64, f64) {
    let number = |name: &str| -> f64 { node.attribute(name).expect("it has one").parse().expect("a number") };
    let class = node.attribute("class").unwrap_or_default();
    let is = |it: &str| class.split(' ').any(|word| word == it);
    let size = if ["d", "s", "m", "on"].into_iter().any(is) { 11 } else { 12 };
    let wide = f64::from(text_width(node.text().unwrap_or_default(), size, is("b")));
    let from = match node.attribute("text-anchor") {
        Some("middle") => number("x") - wide / 2.0,
        Some("end") => number("x") - wide,
        _ => number("x"),
    };
    (number("y"), from, from + wide)
}

#[test]
fn no_text_of_a_picture_runs_out_of_it_or_over_another() {
    for page in pages() {
        let document = parsed(&page);
        let pictures: Vec<_> = document.descendants().filter(|it| it.has_tag_name((SVG, "svg"))).collect();
        assert!(!pictures.is_empty());
        for picture in pictures {
            let title = picture.descendants().find(|it| it.has_tag_name((SVG, "title"))).and_then(|it| it.text());
            assert!(title.is_some_and(|it| !it.is_empty()), "whoever can't see it is told what it is");
            let size: Vec<f64> = picture
                .attribute("viewBox")
                .expect("it has one")
                .split(' ')
                .map(|it| it.parse().expect("a number"))
                .collect();
            let texts: Vec<_> = picture.descendants().filter(|it| it.has_tag_name((SVG, "text"))).collect();
            let places: Vec<_> = texts.iter().map(extent).collect();
            for (text, (y, from, to)) in texts.iter().zip(&places) {
                let said = text.text().unwrap_or_default();
                assert!(
                    *from >= -12.0 && *to <= size[2] + 12.0 && *y <= size[3],
                    "{title:?}: {said:?} at {from} to {to}, {y}"
                );
            }
            for (nth, (y, from, to)) in places.iter().enumerate() {
                for (other, place) in places.iter().enumerate().skip(nth + 1) {
                    let over = (y - place.0).abs() < 8.0 && *from < place.2 - 2.0 && place.1 < *to - 2.0;
                    assert!(!over, "{title:?}: {:?} lies on {:?}", texts[nth].text(), texts[other].text());
                }
            }
        }
    }
}

#[test]
fn names_are_text_and_nothing_else() {
    let page = of_trials(&hostile());
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;co&quot;"));
}

#[test]
fn the_same_question_gives_the_same_bytes() {
    let plan = &plans()[1];
    assert_eq!(of_trials(plan), of_trials(plan));
    assert_eq!(of_comparison(plan), of_comparison(plan));
    assert_eq!(of_scenario(plan, 3), of_scenario(plan, 3));
}

#[test]
fn a_page_has_what_the_text_has() {
    let plan = &plans()[0];
    let proof = Proof::of(plan);
    let scenario = Scenario::parse("zone-loss:us-east-1a", plan).expect("it can be said");
    let told = Told::of(&proof, &scenario, &scenario::Options::default()).expect("nothing is violated");
    let page = told.html(plan, &Shown::Usual);
    let document = parsed(&page);
    let texts: Vec<&str> = document.descendants().filter_map(|it| it.text()).collect();
    for moment in &told.timeline {
        assert!(texts.contains(&moment.text.as_str()), "{}", moment.text);
    }
    let lines = document.descendants().filter(|it| it.attribute("class") == Some("mark")).count();
    assert_eq!(lines, 1, "the objective is marked");
    let gone: Vec<_> = document.descendants().filter(|it| it.attribute("class") == Some("cross")).collect();
    assert_eq!(gone.len(), told.instances.len(), "what is lost is struck out");
    let trials = of_trials(plan);
    for it in [
        "Error budgets",
        "interval of the 95 %",
        "objective",
        "worst case of the proof",
        "What it rests on",
        "Not in the model",
    ] {
        assert!(trials.contains(it), "{it}");
    }
}
