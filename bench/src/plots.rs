//! What was measured, as pictures in SVG.

use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::{coord::Shift, prelude::*};

use crate::{
    results::{Measurement, Results},
    tables::number,
};

const SIZE: (u32, u32) = (760, 400);

/// Colours that can be told apart by everybody, one for each server.
fn colour(server: &str) -> RGBColor {
    match server {
        "throttle" => RGBColor(0, 114, 178),
        "upstream" => RGBColor(213, 94, 0),
        "redis, BLPOP" => RGBColor(204, 121, 167),
        "postgresql" => RGBColor(0, 158, 115),
        "etcd" => RGBColor(230, 159, 0),
        _ => RGBColor(110, 110, 110),
    }
}

/// One line or one row of points: a server, and a value at some of the positions.
struct Series {
    server: String,
    points: Vec<(usize, f64)>,
}

/// Draws all plots for which there are measurements into a folder.
///
/// # Errors
/// Where a file cannot be written.
pub fn draw(results: &Results, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let plots = [
        ("idle_peers_rate", "Requests a second while others are idle", "idle", "per_second"),
        ("idle_peers_p99", "99th percentile of the latency in µs", "idle", "p99_us"),
        ("heartbeats", "Heartbeats a second", "heartbeat", "per_second"),
    ];
    for (file, title, scenario, metric) in plots {
        let (positions, series) = over_peers(results, scenario, metric);
        let file = folder.join(format!("{file}.svg"));
        lines(&file, title, "idle peers, half of them holding a lock", &positions, &series)
            .map_err(|error| anyhow!("{}: {error}", file.display()))?;
    }
    let bars = [
        ("hand_off_rate", "Hand-offs a second, 64 clients, max 1", "per_second"),
        ("hand_off_p99", "From release to grant: 99th percentile in µs, 64 clients", "p99_us"),
    ];
    for (file, title, metric) in bars {
        let setting = [("clients", "64"), ("max", "1"), ("pinned", "true")];
        bar_chart(
            &folder.join(format!("{file}.svg")),
            title,
            &hand_offs(results, &setting, metric),
        )?;
    }
    bar_chart(&folder.join("memory.svg"), "Memory in bytes", &memory(results))
}

/// A metric of each server over the number of idle peers, which are the positions.
fn over_peers(results: &Results, scenario: &str, metric: &str) -> (Vec<usize>, Vec<Series>) {
    let measured = results.measurements.iter();
    let measured = measured.filter(|m| m.scenario == scenario && m.metric == metric);
    let peers = |m: &Measurement| m.parameters.get("idle_peers")?.parse::<usize>().ok();
    let mut positions: Vec<usize> = measured.clone().filter_map(peers).collect();
    positions.sort_unstable();
    positions.dedup();
    let mut series: Vec<Series> = Vec::new();
    for measurement in measured {
        let Some(median) = measurement.spread().map(|spread| spread.median) else { continue };
        let at = peers(measurement).and_then(|peers| positions.iter().position(|p| *p == peers));
        let known = series.iter_mut().find(|series| series.server == measurement.server);
        match (at, known) {
            (Some(at), Some(known)) => known.points.push((at, median)),
            (Some(at), None) => {
                series.push(Series {
                    server: measurement.server.clone(),
                    points: vec![(at, median)],
                });
            }
            (None, _) => {}
        }
    }
    (positions, series)
}

fn hand_offs(results: &Results, setting: &[(&str, &str)], metric: &str) -> Vec<(String, f64)> {
    let servers = ["throttle", "upstream", "postgresql", "redis, BLPOP", "redis, polling", "etcd"];
    let median = |server: &str| {
        // Those that poll are measured with all cores free.
        let found = results.find("hand_off", server, setting, metric);
        let found = found.or_else(|| results.find("hand_off", server, &setting[..2], metric));
        found.and_then(Measurement::spread).map(|spread| (server.to_owned(), spread.median))
    };
    servers.into_iter().filter_map(median).collect()
}

fn memory(results: &Results) -> Vec<(String, f64)> {
    let bars = [
        ("idle peer with a lock", "memory", &[("locks", "1")][..], "peer_bytes"),
        ("parked request", "parked", &[][..], "waiter_bytes"),
        ("connection", "parked", &[][..], "connection_bytes"),
    ];
    let median = |(what, scenario, setting, metric)| {
        ["throttle", "upstream"].map(|server| {
            let found = results.find(scenario, server, setting, metric);
            let spread = found.and_then(Measurement::spread)?;
            Some((format!("{server}: {what}"), spread.median))
        })
    };
    bars.into_iter().flat_map(median).flatten().collect()
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Lines over positions that lie equally far apart; the values on a logarithmic scale.
fn lines(
    file: &Path,
    title: &str,
    below: &str,
    positions: &[usize],
    series: &[Series],
) -> Result<(), Box<dyn std::error::Error>> {
    let values = || series.iter().flat_map(|series| series.points.iter().map(|(_, value)| *value));
    let most = values().fold(f64::MIN, f64::max);
    let least = values().fold(f64::MAX, f64::min);
    if positions.len() < 2 || series.is_empty() {
        return Ok(());
    }
    let area: Area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let end = positions.len() as f64 - 0.6;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 20))
        .margin(14)
        .x_label_area_size(46)
        .y_label_area_size(76)
        .build_cartesian_2d(-0.4..end, (least / 2.0..most * 2.0).log_scale())?;
    let label = |x: &f64| match positions.get(x.round() as usize) {
        Some(peers) if (x - x.round()).abs() < 0.01 => number(*peers as f64, 0),
        _ => String::new(),
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(positions.len() * 5)
        .x_label_formatter(&label)
        .y_label_formatter(&|value| number(*value, 0))
        .x_desc(below)
        .light_line_style(TRANSPARENT)
        .draw()?;
    for Series { server, points } in series {
        let colour = colour(server);
        let at = points.iter().map(|(at, value)| (*at as f64, *value));
        chart
            .draw_series(LineSeries::new(at.clone(), colour.stroke_width(2)))?
            .label(server)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3)));
        chart.draw_series(at.map(|at| Circle::new(at, 4, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.9))
        .border_style(RGBColor(180, 180, 180))
        .position(SeriesLabelPosition::LowerLeft)
        .draw()?;
    area.present()?;
    Ok(())
}

/// One bar below the other, each with its name and its value.
fn bar_chart(file: &Path, title: &str, bars: &[(String, f64)]) -> Result<()> {
    if bars.is_empty() {
        return Ok(());
    }
    let drawn = draw_bars(file, title, bars);
    drawn.map_err(|error| anyhow!("{}: {error}", file.display()))
}

fn draw_bars(
    file: &Path,
    title: &str,
    bars: &[(String, f64)],
) -> Result<(), Box<dyn std::error::Error>> {
    const NAMES: i32 = 240;
    const ROW: i32 = 38;
    const TOP: i32 = 52;
    let size = (SIZE.0, (TOP + ROW * bars.len() as i32 + 14) as u32);
    let area: Area = SVGBackend::new(file, size).into_drawing_area();
    area.fill(&WHITE)?;
    let text = |size: i32| ("sans-serif", size).into_font().color(&BLACK);
    area.draw_text(title, &text(20), (20, 14))?;
    let most = bars.iter().map(|(_, value)| *value).fold(f64::MIN, f64::max);
    let room = f64::from(size.0 as i32 - NAMES - 110);
    for (position, (name, value)) in bars.iter().enumerate() {
        let top = TOP + ROW * position as i32;
        let end = NAMES + ((value / most * room) as i32).max(1);
        let server = name.split(':').next().unwrap_or_default();
        area.draw_text(name, &text(15), (20, top + 7))?;
        let bar = [(NAMES, top), (end, top + ROW - 10)];
        area.draw(&Rectangle::new(bar, colour(server).filled()))?;
        area.draw_text(&number(*value, 0), &text(15), (end + 8, top + 7))?;
    }
    area.present()?;
    Ok(())
}
