//! Where everything stands in the SVG picture.
//!
//! The picture is a table: a row for each component, a column for each zone. A route stands at the left of its row, and
//! its arrows run along that row: straight where nothing is in the way, else in a lane above the boxes. Dependencies have
//! the margin left of the components to themselves. So no arrow crosses a box, however many rows there are.

use std::collections::BTreeMap;

use super::lettering::text_width;
use super::{Arrow, Place, Scene, component_lines, route_lines};
use crate::{ComponentIx, InstanceIx};

pub(super) const MARGIN: i32 = 24;
/// Of title and subtitle.
const TITLE: i32 = 64;
/// Of a region's name, and of a zone's.
const HEADING: i32 = 24;
pub(super) const LINE: i32 = 14;
const CARD: i32 = 196;
const GAP: i32 = 22;
/// Between boxes, and around what a row holds.
const SPACE: i32 = 10;
/// Between parallel lines.
const TRACK: i32 = 7;
/// More parallel lines than this run on top of each other.
const TRACKS: i32 = 24;
/// How far a route's box runs to a point.
pub(super) const POINT: i32 = 10;
/// Above the boxes of a host.
pub(super) const HOST: i32 = 16;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Rect {
    pub(super) x: i32,
    pub(super) y: i32,
    pub(super) w: i32,
    pub(super) h: i32,
}

impl Rect {
    fn middle(&self) -> i32 {
        self.y + self.h / 2
    }

    pub(super) fn right(&self) -> i32 {
        self.x + self.w
    }

    pub(super) fn bottom(&self) -> i32 {
        self.y + self.h
    }
}

pub(super) type Line = Vec<(i32, i32)>;

/// The finished table.
#[derive(Default)]
pub(super) struct Layout {
    pub(super) width: i32,
    /// To the bottom of the table.
    pub(super) height: i32,
    pub(super) regions: Vec<(String, Rect)>,
    pub(super) zones: Vec<(String, Rect)>,
    pub(super) hosts: Vec<(String, Rect)>,
    /// By place in the scene.
    pub(super) residents: Vec<Rect>,
    /// By component.
    pub(super) cards: Vec<Rect>,
    /// By route.
    pub(super) routes: Vec<Rect>,
    /// Where a row ends.
    pub(super) rules: Vec<i32>,
    /// Where the row without a component begins.
    pub(super) overseers: i32,
    /// By place in the scene.
    pub(super) arrows: Vec<Line>,
    pub(super) dependencies: Vec<Line>,
    /// Where boxes of components, routes and zones begin.
    pub(super) columns: (i32, i32, i32),
}

struct Column {
    x: i32,
    /// Where boxes begin.
    inner: i32,
    w: i32,
}

struct Table<'a> {
    scene: &'a Scene<'a>,
    /// Components from top to bottom.
    order: Vec<ComponentIx>,
    /// By component.
    row_of: Vec<usize>,
    /// Residents by row and column.
    cells: BTreeMap<(usize, usize), Vec<usize>>,
    /// Routes by row.
    routes: Vec<Vec<usize>>,
    /// Of the arrows: whether nothing stands between the routes and its target.
    straight: Vec<bool>,
    /// Arrows in a lane, by row.
    lanes: Vec<Vec<usize>>,
    columns: Vec<Column>,
    layout: Layout,
}

/// Works out the table.
pub(super) fn of(scene: &Scene<'_>) -> Layout {
    let mut table = Table::new(scene);
    table.place_columns();
    table.place_rows();
    table.place_regions();
    table.place_hosts();
    table.draw_arrows();
    table.draw_dependencies();
    table.layout
}

pub(super) fn box_height(lines: usize) -> i32 {
    i32::try_from(lines).unwrap_or(i32::MAX / LINE).saturating_mul(LINE) + 12
}

fn nth(at: usize) -> i32 {
    i32::try_from(at).unwrap_or(0) % TRACKS
}

impl<'a> Table<'a> {
    fn new(scene: &'a Scene<'a>) -> Table<'a> {
        let plan = scene.plan;
        let mut order: Vec<ComponentIx> = (0u32..).map(ComponentIx).take(plan.components.len()).collect();
        // Neighbours on one host share its box.
        order.sort_by_key(|it| &plan.instance(plan.component(*it).original()).location);
        let mut row_of = vec![0; order.len()];
        for (row, ix) in order.iter().enumerate() {
            row_of[ix.index()] = row;
        }
        let mut cells: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
        for (at, it) in scene.residents.iter().enumerate() {
            let row = it.of.map_or(order.len(), |ix| row_of[ix.index()]);
            let column = scene.places.partition_point(|place| *place < Place::of(it.location));
            cells.entry((row, column)).or_default().push(at);
        }
        for cell in cells.values_mut() {
            cell.sort_by_key(|at| &scene.residents[*at].location.host);
        }
        let mut routes = vec![Vec::new(); order.len() + 1];
        for (at, route) in plan.routes.iter().enumerate() {
            let row =
                route.targets.first().map_or(order.len(), |it| row_of[plan.instance(it.instance).component.index()]);
            routes[row].push(at);
        }
        let mut table = Table {
            scene,
            order,
            row_of,
            cells,
            routes,
            straight: Vec::new(),
            lanes: Vec::new(),
            columns: Vec::new(),
            layout: Layout::default(),
        };
        table.straight = scene.arrows.iter().map(|it| table.is_straight(it)).collect();
        table.lanes = (0..=table.order.len()).map(|row| table.lanes_of(row)).collect();
        table
    }

    fn rows(&self) -> usize {
        self.order.len() + 1
    }

    fn row(&self, instance: InstanceIx) -> usize {
        self.row_of[self.scene.plan.instance(instance).component.index()]
    }

    fn column(&self, instance: InstanceIx) -> usize {
        let place = Place::of(&self.scene.plan.instance(instance).location);
        self.scene.places.partition_point(|it| *it < place)
    }

    fn is_straight(&self, arrow: &Arrow) -> bool {
        let row = self.row(arrow.to);
        (0..self.column(arrow.to)).all(|column| !self.cells.contains_key(&(row, column)))
    }

    fn lanes_of(&self, row: usize) -> Vec<usize> {
        let arrows = self.scene.arrows.iter().enumerate();
        let lanes = arrows.filter(|(at, it)| !self.straight[*at] && self.row(it.to) == row);
        lanes.map(|(at, _)| at).collect()
    }

    fn place_columns(&mut self) {
        let plan = self.scene.plan;
        let tracks = self.dependency_tracks().iter().map(|(_, _, track)| track + 1).max().unwrap_or(0);
        let gutter = if tracks == 0 { 0 } else { 20 + TRACK * nth(tracks.min(TRACKS as usize - 1)) };
        let cards = MARGIN + gutter;
        let routes = cards + CARD + GAP;
        let after = if plan.routes.is_empty() { routes } else { routes + CARD };
        let most = self.turns().into_iter().max().map_or(0, |it| it + 1);
        let zones = after + GAP + TRACK * nth(most.min(TRACKS as usize - 1));
        self.layout.columns = (cards, routes, zones);
        let mut x = zones;
        for at in 0..self.scene.places.len() {
            let lanes = (0..self.rows()).map(|row| self.lanes_to(row, at)).max().unwrap_or(0);
            let pad = 16 + TRACK * nth(lanes.min(TRACKS as usize - 1));
            let own = self.scene.residents.iter().filter(|it| Place::of(it.location) == self.scene.places[at]);
            let widest = own.map(|it| {
                let lines = it.lines.iter().map(|line| text_width(line, 11, false)).max().unwrap_or(0);
                lines.max(text_width(it.name, 12, true)) + 20
            });
            let w = widest.max().unwrap_or(0).clamp(150, 270);
            let last = self.scene.places.get(at + 1).is_none_or(|next| next.region != self.scene.places[at].region);
            let column = Column { x, inner: x + pad, w };
            x = column.inner + w + 16 + if last { GAP } else { 8 };
            self.columns.push(column);
        }
        self.layout.width = (x - GAP + MARGIN).max(820);
    }

    /// Where each arrow turns beside the routes: those that stay in their row have the first tracks, one for each of the
    /// row; those that leave it have each a track of their own.
    fn turns(&self) -> Vec<usize> {
        let mut in_row = vec![0; self.rows()];
        let stays = |it: &Arrow| self.home(it) == self.row(it.to);
        for arrow in self.scene.arrows.iter().filter(|it| stays(it)) {
            in_row[self.row(arrow.to)] += 1;
        }
        let mut next = in_row.iter().copied().max().unwrap_or(0);
        in_row.fill(0);
        let turn = |arrow: &Arrow| {
            let counter = if stays(arrow) { &mut in_row[self.row(arrow.to)] } else { &mut next };
            *counter += 1;
            *counter - 1
        };
        self.scene.arrows.iter().map(turn).collect()
    }

    /// How many arrows come down from a lane into a cell.
    fn lanes_to(&self, row: usize, column: usize) -> usize {
        self.lanes[row].iter().filter(|at| self.column(self.scene.arrows[**at].to) == column).count()
    }

    /// The row in which the arrow begins.
    fn home(&self, arrow: &Arrow) -> usize {
        self.routes.iter().position(|it| it.contains(&arrow.route.index())).unwrap_or(0)
    }

    fn place_rows(&mut self) {
        let plan = self.scene.plan;
        self.layout.residents = vec![Rect::default(); self.scene.residents.len()];
        self.layout.cards = vec![Rect::default(); plan.components.len()];
        self.layout.routes = vec![Rect::default(); plan.routes.len()];
        let mut y = TITLE + 2 * HEADING + 8;
        for row in 0..self.rows() {
            let top = y + SPACE + 2 + TRACK * nth(self.lanes[row].len().min(TRACKS as usize - 1));
            let bottom = self.place_cells(row, top);
            let middle = self.middle_of(row).unwrap_or((top + bottom) / 2);
            let lowest = match self.order.get(row) {
                Some(ix) => self.place_card(*ix, top, middle),
                None => {
                    self.layout.overseers = y;
                    bottom
                }
            };
            let lowest = lowest.max(self.place_routes(row, top, middle));
            y = bottom.max(lowest) + SPACE;
            self.layout.rules.push(y);
        }
        self.layout.height = y + 8;
    }

    /// Where a row's first own instance has its middle, so that the arrow to it runs straight.
    fn middle_of(&self, row: usize) -> Option<i32> {
        let original = self.scene.plan.component(*self.order.get(row)?).original();
        let at = self.scene.residents.iter().position(|it| it.instance == Some(original))?;
        Some(self.layout.residents[at].middle())
    }

    /// Stacks what lives in a row's cells; answers how far down it goes.
    fn place_cells(&mut self, row: usize, top: i32) -> i32 {
        let mut lowest = top;
        for (column, place) in self.columns.iter().enumerate() {
            let mut y = top;
            let mut host: Option<&str> = None;
            for at in self.cells.get(&(row, column)).into_iter().flatten() {
                let it = &self.scene.residents[*at];
                let own = it.location.host.as_deref();
                if own != host && host.is_some() {
                    y += SPACE;
                }
                if own != host && own.is_some() {
                    y += HOST;
                }
                host = own;
                let h = box_height(1 + it.lines.len());
                self.layout.residents[*at] = Rect { x: place.inner, y, w: place.w, h };
                y += h + SPACE;
            }
            lowest = lowest.max(y);
        }
        lowest
    }

    fn place_card(&mut self, ix: ComponentIx, top: i32, middle: i32) -> i32 {
        let h = box_height(1 + component_lines(self.scene.plan, ix).len());
        let y = (middle - h / 2).max(top);
        self.layout.cards[ix.index()] = Rect { x: self.layout.columns.0, y, w: CARD, h };
        y + h
    }

    fn place_routes(&mut self, row: usize, top: i32, middle: i32) -> i32 {
        let heights: Vec<i32> = (self.routes[row].iter())
            .map(|at| u32::try_from(*at).map_or(0, |at| route_lines(self.scene.plan, crate::RouteIx(at)).len()))
            .map(|lines| box_height(1 + lines))
            .collect();
        let all: i32 = heights.iter().sum::<i32>() + SPACE * nth(heights.len().saturating_sub(1));
        let mut y = (middle - all / 2).max(top);
        for (at, h) in self.routes[row].iter().zip(heights) {
            self.layout.routes[*at] = Rect { x: self.layout.columns.1, y, w: CARD, h };
            y += h + SPACE;
        }
        y
    }

    fn place_regions(&mut self) {
        let bottom = self.layout.height;
        for (place, column) in self.scene.places.iter().zip(&self.columns) {
            let right = column.inner + column.w + 16;
            let y = TITLE + HEADING;
            let zone = Rect { x: column.x + 4, y, w: right - column.x - 4, h: bottom - y };
            self.layout.zones.push((place.title().to_owned(), zone));
            match self.layout.regions.last_mut() {
                Some((name, rect)) if *name == place.region => rect.w = right + 4 - rect.x,
                Some(_) | None => {
                    let rect = Rect { x: column.x, y: TITLE, w: right + 4 - column.x, h: bottom + 4 - TITLE };
                    self.layout.regions.push((place.region.clone(), rect));
                }
            }
        }
    }

    /// A box around everything on one host. In one column, neighbours share it.
    fn place_hosts(&mut self) {
        for column in 0..self.columns.len() {
            let mut open: Option<(String, Rect)> = None;
            for row in 0..self.rows() {
                let Some(cell) = self.cells.get(&(row, column)) else {
                    self.layout.hosts.extend(open.take());
                    continue;
                };
                for at in cell {
                    let (host, rect) = (&self.scene.residents[*at].location.host, self.layout.residents[*at]);
                    match (&mut open, host) {
                        (Some((name, around)), Some(host)) if name == host => around.h = rect.bottom() + 6 - around.y,
                        (_, host) => {
                            self.layout.hosts.extend(open.take());
                            open = host.as_ref().map(|host| (host.clone(), around(rect)));
                        }
                    }
                }
            }
            self.layout.hosts.extend(open);
        }
    }

    fn draw_arrows(&mut self) {
        let turns = self.turns();
        let mut leaving: BTreeMap<usize, i32> = BTreeMap::new();
        let mut down: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        let lines = self.scene.arrows.iter().enumerate().map(|(at, arrow)| {
            let (row, column) = (self.row(arrow.to), self.column(arrow.to));
            let route = self.layout.routes[arrow.route.index()];
            let target = self.target(arrow);
            let x = route.right() + 10 + TRACK * nth(turns[at]);
            let level = self.is_level(at);
            let y = if level {
                target.1
            } else {
                let all = self.scene.arrows.iter().enumerate().filter(|(_, it)| it.route == arrow.route);
                let ports = nth(all.filter(|(at, _)| !self.is_level(*at)).count());
                let port = leaving.entry(arrow.route.index()).or_default();
                *port += 1;
                // Above what runs level, if there is such a one.
                let room = if ports < nth(route_arrows(self.scene, arrow)) { route.h / 2 } else { route.h };
                route.y + room * *port / (ports + 1)
            };
            // The box ends in a point, whose edge runs back from the middle.
            let start = (route.right() - POINT * 2 * (y - route.middle()).abs() / route.h.max(1), y);
            if self.straight[at] {
                return vec![start, (x, y), (x, target.1), target];
            }
            let lane = self.lanes[row].iter().position(|it| *it == at).unwrap_or(0);
            let lane = self.row_top(row) + SPACE - 1 + TRACK * nth(lane);
            let beside = down.entry((row, column)).or_default();
            let into = self.columns[column].x + 9 + TRACK * nth(*beside);
            *beside += 1;
            vec![start, (x, y), (x, lane), (into, lane), (into, target.1), target]
        });
        self.layout.arrows = lines.map(simplified).collect();
    }

    /// Whether an arrow runs to its target without a corner.
    fn is_level(&self, at: usize) -> bool {
        let arrow = &self.scene.arrows[at];
        let route = self.layout.routes[arrow.route.index()];
        self.straight[at] && (route.y + 6..route.bottom() - 6).contains(&self.target(arrow).1)
    }

    fn row_top(&self, row: usize) -> i32 {
        if row == 0 { TITLE + 2 * HEADING + 8 } else { self.layout.rules[row - 1] }
    }

    /// Where an arrow enters: several come in below each other.
    fn target(&self, arrow: &Arrow) -> (i32, i32) {
        let at = self.scene.residents.iter().position(|it| it.instance == Some(arrow.to));
        let rect = at.map(|at| self.layout.residents[at]).unwrap_or_default();
        let all: Vec<&Arrow> = self.scene.arrows.iter().filter(|it| it.to == arrow.to).collect();
        let mine = all.iter().position(|it| *it == arrow).unwrap_or(0);
        let y = rect.middle() + 9 * nth(mine) - 9 * nth(all.len().saturating_sub(1)) / 2;
        (rect.x, y.clamp(rect.y + 4, rect.bottom() - 4))
    }

    /// Who depends on whom, by rows, and in which track: short ones next to the boxes, none on top of another.
    fn dependency_tracks(&self) -> Vec<(usize, usize, usize)> {
        let components = self.scene.plan.components.iter().zip(&self.row_of);
        let mut all: Vec<(usize, usize)> =
            components.flat_map(|(it, row)| it.depends_on.iter().map(|on| (*row, self.row_of[on.index()]))).collect();
        all.sort_by_key(|(from, to)| (from.abs_diff(*to), *from, *to));
        let mut taken: Vec<Vec<(usize, usize)>> = Vec::new();
        let mut tracks = Vec::new();
        for (from, to) in all {
            let (low, high) = (from.min(to), from.max(to));
            let free = taken.iter().position(|it| it.iter().all(|(a, b)| high < *a || *b < low));
            let track = free.unwrap_or(taken.len());
            if free.is_none() {
                taken.push(Vec::new());
            }
            taken[track].push((low, high));
            tracks.push((from, to, track));
        }
        tracks
    }

    fn draw_dependencies(&mut self) {
        for (from, to, track) in self.dependency_tracks() {
            let (from, to) = (self.order[from], self.order[to]);
            let (a, b) = (self.layout.cards[from.index()], self.layout.cards[to.index()]);
            let x = a.x - 14 - TRACK * nth(track);
            let (leaves, enters) = (a.middle() + 6, b.middle() - 6);
            self.layout.dependencies.push(vec![(a.x, leaves), (x, leaves), (x, enters), (b.x, enters)]);
        }
    }
}

/// A host's box around its first resident.
fn around(it: Rect) -> Rect {
    Rect { x: it.x - 6, y: it.y - HOST, w: it.w + 12, h: it.h + HOST + 6 }
}

fn route_arrows(scene: &Scene<'_>, arrow: &Arrow) -> usize {
    scene.arrows.iter().filter(|it| it.route == arrow.route).count()
}

/// Without corners that are none.
fn simplified(line: Line) -> Line {
    let mut out: Line = Vec::new();
    for point in line {
        if let [.., a, b] = out.as_slice()
            && ((a.0 == b.0 && b.0 == point.0) || (a.1 == b.1 && b.1 == point.1))
        {
            out.pop();
        }
        if out.last() != Some(&point) {
            out.push(point);
        }
    }
    out
}
