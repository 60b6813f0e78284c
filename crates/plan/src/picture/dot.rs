//! The picture as Graphviz source: `mainstay plan --dot plan.yaml | dot -Tpdf`.

use std::collections::BTreeMap;

use super::{Kind, Place, Resident, Scene, component_lines, route_lines};
use crate::component::Temperature;
use crate::{ComponentIx, RouteIx};

pub(super) const HEAD: &str = "  graph [rankdir=LR, fontname=\"Helvetica\", fontsize=12, \
                               labelloc=t, labeljust=l, ranksep=0.9, nodesep=0.25, bgcolor=white];\n  node [fontname=\"Helvetica\", \
                               fontsize=11, shape=box, style=filled, fillcolor=white];\n  edge [fontname=\"Helvetica\", \
                               fontsize=9];\n";

const LEGEND: &str = "solid arrow: clients are led here; dashed: and here after a takeover; dotted: depends on";

/// Every component, every instance, every route.
pub(super) fn draw(scene: &Scene<'_>) -> String {
    let title = [scene.title(), scene.subtitle(), LEGEND.to_owned()];
    let title: Vec<String> = title.into_iter().chain(together(scene)).collect();
    let mut out = format!("digraph plan {{\n{HEAD}  label={};\n", quoted(&title));
    for ix in (0u32..).map(RouteIx).take(scene.plan.routes.len()) {
        let name = &scene.plan.route(ix).name;
        let lines: Vec<String> = std::iter::once(name.clone()).chain(route_lines(scene.plan, ix)).collect();
        out.push_str(&format!(
            "  {} [shape=cds, margin=\"0.2,0.1\", label={}];\n",
            id(&route_id(name)),
            quoted(&lines)
        ));
    }
    let mut regions: BTreeMap<&str, Vec<&Place>> = BTreeMap::new();
    for place in &scene.places {
        regions.entry(&place.region).or_default().push(place);
    }
    for (region, places) in regions {
        out.push_str(&cluster(
            1,
            &format!("region {region}"),
            &format!("region {region}"),
            "style=solid; color=\"#333333\"; penwidth=1.5",
        ));
        for place in places {
            zone(scene, place, &mut out);
        }
        out.push_str("  }\n");
    }
    edges(scene, &mut out);
    out.push_str("}\n");
    out
}

fn together(scene: &Scene<'_>) -> Vec<String> {
    scene.fail_together().into_iter().map(|it| format!("fail together: {it}")).collect()
}

fn zone(scene: &Scene<'_>, place: &Place, out: &mut String) {
    let key = format!("zone {} {}", place.region, place.title());
    out.push_str(&cluster(2, &key, place.title(), "style=filled; fillcolor=\"#f3f3f0\"; color=\"#999999\""));
    let mut hosts: BTreeMap<Option<&str>, Vec<&Resident<'_>>> = BTreeMap::new();
    for it in scene.residents.iter().filter(|it| Place::of(it.location) == *place) {
        hosts.entry(it.location.host.as_deref()).or_default().push(it);
    }
    for (host, residents) in hosts {
        let mut indent = 3;
        if let Some(host) = host {
            out.push_str(&cluster(
                3,
                &format!("host {key} {host}"),
                &format!("host {host}"),
                "style=\"filled,solid\"; fillcolor=white; color=\"#999999\"",
            ));
            indent = 4;
        }
        for it in residents {
            out.push_str(&format!("{:width$}{};\n", "", node(it), width = indent * 2));
        }
        if host.is_some() {
            out.push_str("      }\n");
        }
    }
    out.push_str("    }\n");
}

fn cluster(depth: usize, key: &str, label: &str, look: &str) -> String {
    let indent = depth * 2;
    let id = id(&format!("cluster {key}"));
    format!("{:indent$}subgraph {id} {{\n{:indent$}  label={}; {look};\n", "", "", quoted(&[label.to_owned()]))
}

fn node(it: &Resident<'_>) -> String {
    let look = match it.kind {
        Kind::Original => "penwidth=2",
        Kind::Standby(Temperature::Hot | Temperature::Warm) => "style=\"filled,dashed\"",
        Kind::Standby(Temperature::Cold) => "style=\"filled,dotted\"",
        Kind::Agent => "shape=box, style=\"filled,rounded\", penwidth=2, fillcolor=\"#e8e8e8\"",
        Kind::OtherAgent => "shape=box, style=\"filled,rounded\", fillcolor=\"#e8e8e8\"",
        Kind::Witness => "shape=ellipse",
        Kind::Backup => "shape=cylinder",
        Kind::Store => "shape=hexagon",
    };
    let lines: Vec<String> = std::iter::once(it.name.to_owned()).chain(it.lines.iter().cloned()).collect();
    format!("{} [{look}, label={}]", id(&it.id), quoted(&lines))
}

fn edges(scene: &Scene<'_>, out: &mut String) {
    let plan = scene.plan;
    let instance = |it: crate::InstanceIx| id(&format!("instance {}", plan.instance(it).name));
    for arrow in &scene.arrows {
        let style = if arrow.serving { "penwidth=1.8, color=\"#0072b2\"" } else { "style=dashed, color=\"#555555\"" };
        let route = id(&route_id(&plan.route(arrow.route).name));
        out.push_str(&format!("  {route} -> {} [{style}];\n", instance(arrow.to)));
    }
    for (component, ix) in plan.components.iter().zip((0u32..).map(ComponentIx)) {
        for on in &component.depends_on {
            out.push_str(&format!(
                "  {} -> {} [style=dotted, penwidth=1.6, color=\"#a0400a\", arrowhead=empty, constraint=false];
",
                instance(plan.component(ix).original()),
                instance(plan.component(*on).original())
            ));
        }
        let lines = component_lines(plan, ix);
        let tip = quoted(&lines);
        out.push_str(&format!("  {} [tooltip={tip}];\n", instance(component.original())));
    }
}

fn route_id(name: &str) -> String {
    format!("route {name}")
}

/// In a name only a quotation mark has a meaning; the one backslash that could hide it is doubled too.
pub(super) fn id(text: &str) -> String {
    format!("\"{}\"", shown(text))
}

/// Lines of a label, centred.
pub(super) fn quoted(lines: &[String]) -> String {
    format!("\"{}\"", lines.iter().map(|it| shown(it)).collect::<Vec<_>>().join("\\n"))
}

/// Free text inside quotation marks: Graphviz takes a backslash for the beginning of an escape, and `&` for that of an
/// HTML entity.
fn shown(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '&' => out.push_str("&amp;"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
