//! What a picture owes its reader whatever the plan is: it can be read, it is complete or says what it leaves out, no box
//! lies on another, and no name breaks it.

#![expect(clippy::unwrap_used, reason = "a test that can't go on has failed")]

use std::path::Path;
use std::time::Duration;

use mainstay_plan::agents::{Agent, AgentRole, Alone, Coordination, Lease, StoreKind};
use mainstay_plan::backup::{Backup, BackupCopy};
use mainstay_plan::component::Temperature;
use mainstay_plan::location::{Location, SharedKind, SharedPart};
use mainstay_plan::route::{Route, RouteTarget};
use mainstay_plan::{InstanceIx, Plan, RouteIx, compile, picture};
use roxmltree::{Document, Node};

fn plan(text: &str) -> Plan {
    let compiled = compile("plan.yaml", text, Path::new("/etc/mainstay"));
    compiled.plan.unwrap_or_else(|| panic!("{:#?}", compiled.findings))
}

/// `components` of them over three zones, each with a standby and a route, each depending on the one before.
fn many(components: usize) -> Plan {
    let mut text = "version: 1\nsite: { name: big, region: r1, zone: z9, host: ops }\ncomponents:\n".to_owned();
    let (mut standbys, mut routes) = ("standbys:\n".to_owned(), "routes:\n".to_owned());
    for at in 0..components {
        let (zone, there, net) = (at % 3, (at + 1) % 3, format!("{}.{}", at / 200, at % 200 + 1));
        let after = if at % 4 == 0 { String::new() } else { format!("    depends_on: [part-{}]\n", at - 1) };
        text.push_str(&format!(
            "  part-{at}:\n    type: cache\n    location: {{ region: r1, zone: z{zone}, host: h{} }}\n{after}    probes: [ {{ \
             http: {{ url: \"http://10.1.{net}:80/\" }} }} ]\n    recovery:\n      - failover_to_standby: {{ standby: \
             part-{at}-b }}\n",
            at / 2
        ));
        standbys.push_str(&format!(
            "  part-{at}-b:\n    location: {{ region: r2, zone: z{there} }}\n    probes: [ {{ http: {{ url: \
             \"http://10.2.{net}:80/\" }} }} ]\n"
        ));
        routes.push_str(&format!(
            "  route-{at}:\n    exclusive: {{ fence: traffic_cut }}\n    proxy: {{ listen: \"10.9.{net}:80\" }}\n    targets:\n      \
             - {{ component: part-{at}, address: \"10.1.{net}:80\" }}\n      - {{ standby: part-{at}-b, address: \
             \"10.2.{net}:80\" }}\n"
        ));
    }
    plan(&(text + &standbys + &routes))
}

fn location(region: &str, zone: &str, host: Option<&str>) -> Location {
    Location { region: region.to_owned(), zone: Some(zone.to_owned()), host: host.map(str::to_owned) }
}

/// One of everything that a plan can hold.
fn everything() -> Plan {
    let mut plan = many(3);
    let feed = SharedPart { kind: SharedKind::Power, name: "feed-a".to_owned() };
    plan.instances[0].shares = vec![feed.clone(), SharedPart { kind: SharedKind::Key, name: "own-key".to_owned() }];
    plan.instances[1].shares = vec![feed];
    plan.instances[1].temperature = Temperature::Cold;
    plan.instances[3].temperature = Temperature::Hot;
    plan.components[1].backups = vec![Backup {
        name: "nightly".to_owned(),
        every: Duration::from_secs(86_400),
        takes: Duration::from_secs(60),
        copy_lag: Duration::ZERO,
        archive_lag: None,
        keep: Duration::from_secs(864_000),
        location: location("r1", "z9", None),
        copies: vec![BackupCopy {
            location: location("r2", "z0", Some("vault")),
            lag: Duration::from_secs(60),
            bucket: None,
        }],
        restore_test: None,
        postgres: None,
        measured: None,
    }];
    plan.agents = vec![
        Agent { name: "second".to_owned(), location: location("r2", "z0", Some("ops-2")), role: AgentRole::Successor },
        Agent { name: "third".to_owned(), location: location("r1", "z9", Some("ops")), role: AgentRole::Successor },
        Agent { name: "fourth".to_owned(), location: location("r1", "z9", Some("ops-4")), role: AgentRole::Successor },
        Agent { name: "arm".to_owned(), location: location("r1", "z0", Some("h0")), role: AgentRole::Hands },
    ];
    let second = std::time::Duration::from_secs(1);
    plan.coordination = Some(Coordination {
        store: StoreKind::Etcd,
        location: location("r3", "z1", None),
        lease: Lease { renew: second, expires: 5 * second, drift: second },
        alone: Alone::Hold,
    });
    // A route to two components at once.
    let target = |it: &RouteTarget, instance| RouteTarget { instance, address: it.address, unix: None, weight: 1 };
    let first = &plan.routes[0];
    let both = Route {
        name: "both".to_owned(),
        targets: (0..4).map(|at| target(&first.targets[0], InstanceIx(at))).collect(),
        sharing: mainstay_plan::route::Sharing::Shared,
        ..first.clone()
    };
    plan.routes.push(both);
    let ix = RouteIx(u32::try_from(plan.routes.len() - 1).unwrap());
    plan.components[0].routes.push(ix);
    plan.components[1].routes.push(ix);
    plan
}

/// Strips what an XML reader does not see of a text, and lists the rest.
fn texts(document: &Document<'_>) -> Vec<String> {
    let of = |it: &Node<'_, '_>| it.text().map(str::to_owned);
    document.descendants().filter(|it| it.has_tag_name("text")).filter_map(|it| of(&it)).collect()
}

#[test]
fn everything_is_named() {
    let plan = everything();
    let svg = picture::svg(&plan);
    let dot = picture::dot(&plan);
    let document = Document::parse(&svg).unwrap();
    let shown = texts(&document);
    let names = (plan.instances.iter().map(|it| it.name.as_str()))
        .chain(plan.routes.iter().map(|it| it.name.as_str()))
        .chain(plan.agents.iter().map(|it| it.name.as_str()))
        .chain([
            "nightly",
            "etcd",
            "agent",
            "on power feed-a",
            "cold standby",
            "hot standby",
            "host vault",
            "region r3",
        ])
        .chain([
            "fail together: power feed-a: part-0, part-0-b",
            "backup every 1d",
            "copy every 1d",
            "agent, successor",
        ]);
    for name in names {
        assert!(shown.iter().any(|it| it == name), "the SVG does not show `{name}`: {shown:#?}");
        assert!(dot.contains(name), "the Graphviz source does not name `{name}`");
    }
    for part in ["title", "desc"] {
        let found = document.root_element().children().find(|it| it.has_tag_name(part)).unwrap();
        assert!(found.text().unwrap().len() > 10 && found.attribute("id") == Some(part), "{found:?}");
    }
}

/// Boxes that stand for something: left, top, width and height of those with a name inside. A route's box is taken without
/// its point, where arrows leave.
fn boxes(document: &Document<'_>) -> Vec<(String, [i32; 4])> {
    let number = |it: Node<'_, '_>, name| it.attribute(name).unwrap().parse::<i32>().unwrap();
    let of = |group: Node<'_, '_>| {
        let title = group.children().find(|it| it.has_tag_name("title"))?.text()?.to_owned();
        if let Some(rect) = group.children().find(|it| it.has_tag_name("rect")) {
            return Some((title, ["x", "y", "width", "height"].map(|name| number(rect, name))));
        }
        let polygon = group.children().find(|it| it.has_tag_name("polygon"))?;
        let corners: Vec<Point> = polygon.attribute("points").unwrap().split(' ').map(point).collect();
        let ((x, y), (right, bottom)) = (corners[0], corners[3]);
        Some((title, [x, y, right - x, bottom - y]))
    };
    document.descendants().filter(|it| it.has_tag_name("g")).filter_map(of).collect()
}

type Point = (i32, i32);

fn point(text: &str) -> Point {
    let (x, y) = text.split_once(',').unwrap();
    (x.parse().unwrap(), y.parse().unwrap())
}

#[test]
fn no_box_lies_on_another_and_none_outside() {
    for plan in [everything(), many(1), many(50), many(150)] {
        let svg = picture::svg(&plan);
        let document = Document::parse(&svg).unwrap();
        let root = document.root_element();
        let size = |name| root.attribute(name).unwrap().parse::<i32>().unwrap();
        let boxes = boxes(&document);
        assert!(
            boxes.len() > plan.instances.len() + plan.components.len() + plan.routes.len(),
            "{} boxes",
            boxes.len()
        );
        for (nth, (one, [x, y, w, h])) in boxes.iter().enumerate() {
            assert!(*x >= 0 && *y >= 0 && x + w <= size("width") && y + h <= size("height"), "{one} is outside");
            for (other, [left, top, width, height]) in &boxes[nth + 1..] {
                let apart = x + w <= *left || left + width <= *x || y + h <= *top || top + height <= *y;
                assert!(apart, "`{one}` and `{other}` lie on each other");
            }
        }
    }
}

/// The pieces of every arrow, by arrow.
fn arrows(document: &Document<'_>) -> Vec<Vec<(Point, Point)>> {
    // The legend's samples stand below everything else, in no group.
    let lines = document.descendants().filter(|it| it.attribute("marker-end").is_some_and(|it| it != "url(#hollow)"));
    let lines = lines.filter(|it| it.parent().unwrap().has_tag_name("g"));
    lines
        .map(|it| {
            let points: Vec<Point> = it.attribute("points").unwrap().split(' ').map(point).collect();
            points.windows(2).map(|pair| (pair[0], pair[1])).collect()
        })
        .collect()
}

#[test]
fn no_arrow_runs_through_a_box() {
    for plan in [everything(), many(40)] {
        let svg = picture::svg(&plan);
        let document = Document::parse(&svg).unwrap();
        let (boxes, arrows) = (boxes(&document), arrows(&document));
        assert_eq!(arrows.len(), plan.routes.iter().map(|it| it.targets.len()).sum::<usize>());
        for (a, b) in arrows.into_iter().flatten() {
            assert!(a.0 == b.0 || a.1 == b.1, "{a:?} to {b:?} runs aslant");
            for (name, [x, y, w, h]) in &boxes {
                let across = a.0.min(b.0) < x + w && a.0.max(b.0) > *x && a.1.min(b.1) < y + h && a.1.max(b.1) > *y;
                assert!(!across, "{a:?} to {b:?} runs through `{name}`");
            }
        }
    }
}

#[test]
fn no_arrow_runs_along_another() {
    for plan in [everything(), many(40)] {
        let svg = picture::svg(&plan);
        let document = Document::parse(&svg).unwrap();
        let arrows = arrows(&document);
        // Of two pieces on one line, the end of the first must come before the beginning of the second.
        let span = |a: i32, b: i32| (a.min(b), a.max(b));
        let overlap = |(a, b): (i32, i32), (c, d): (i32, i32)| a < d && c < b;
        for (nth, one) in arrows.iter().enumerate() {
            for other in &arrows[nth + 1..] {
                for (a, b) in one {
                    for (c, d) in other {
                        let level = a.1 == b.1 && c.1 == d.1 && a.1 == c.1;
                        let upright = a.0 == b.0 && c.0 == d.0 && a.0 == c.0;
                        let along = (level && overlap(span(a.0, b.0), span(c.0, d.0)))
                            || (upright && overlap(span(a.1, b.1), span(c.1, d.1)));
                        assert!(!along, "{a:?} to {b:?} runs along {c:?} to {d:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn hostile_text_breaks_nothing() {
    let evil = "</text><script>alert(\"x\")</script>&amp;'\\\"\u{1b}[2J\n\u{ffff}";
    let mut plan = everything();
    for instance in &mut plan.instances {
        instance.location.zone = Some(evil.to_owned());
        instance.location.host = Some(evil.to_owned());
    }
    plan.site.name = evil.to_owned();
    plan.components[0].name = evil.to_owned();
    plan.instances[0].name = format!("{evil}\\");
    plan.instances[0].shares[0].name = evil.to_owned();
    plan.routes[0].name = evil.to_owned();
    plan.components[0].constraint = Some(mainstay_plan::component::Constraint {
        kind: mainstay_plan::component::ConstraintKind::Cost,
        reason: evil.to_owned(),
    });
    let mut crowded = many(151);
    crowded.instances[0].name = evil.to_owned();
    crowded.instances[0].location.zone = Some(evil.to_owned());
    for plan in [plan, crowded] {
        let svg = picture::svg(&plan);
        let document = Document::parse(&svg).unwrap();
        assert!(!document.descendants().any(|it| it.has_tag_name("script")), "{svg}");
        assert!(texts(&document).iter().any(|it| it.contains("</text><script>")), "the text is there, as text");
        let dot = picture::dot(&plan);
        let quotes = |line: &str| line.replace("\\\\", "").replace("\\\"", "").matches('"').count();
        for line in dot.lines() {
            assert_eq!(quotes(line) % 2, 0, "a quotation mark is open: {line}");
        }
        assert!(!dot.contains('\u{1b}') && !svg.contains('\u{1b}'));
    }
}

#[test]
fn a_crowd_is_counted_instead_of_drawn() {
    let (drawn, crowd, throng) = (many(150), many(151), many(2000));
    assert!(picture::svg(&drawn).contains(">part-149-b<"));
    for plan in [&crowd, &throng] {
        let svg = picture::svg(plan);
        let document = Document::parse(&svg).unwrap();
        let shown = texts(&document).join("\n");
        let said = format!("{} components in 7 zones: too many to draw each", plan.components.len());
        assert!(shown.contains(&said), "{shown}");
        assert!(picture::dot(plan).contains(&said));
        let in_first = plan.components.len().div_ceil(3);
        assert!(shown.contains(&format!("\n{in_first} components\n")), "{shown}");
        assert!(shown.contains(&format!("\nand {} more\n", in_first - 40)) == (in_first > 40), "{shown}");
        assert!(svg.len() < 60_000, "{} bytes", svg.len());
    }
}

#[test]
fn the_same_plan_gives_the_same_bytes() {
    assert_eq!(picture::svg(&everything()), picture::svg(&everything()));
    assert_eq!(picture::dot(&everything()), picture::dot(&everything()));
}
