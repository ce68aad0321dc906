//! What was measured: values by scenario, server, parameters and metric, one for each round.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// What distinguishes measurements of one scenario, such as `idle_peers` → `1000`.
pub type Parameters = BTreeMap<String, String>;

/// One metric of one server in one setting.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measurement {
    /// What was done, such as `cycle`.
    pub scenario: String,
    /// To what.
    pub server: String,
    /// In which setting.
    pub parameters: Parameters,
    /// What was looked at; the unit is part of the name.
    pub metric: String,
    /// One value for each round; those of the same round of other measurements were taken within
    /// seconds of it.
    pub rounds: Vec<f64>,
}

/// A whole run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Results {
    /// The machine, as far as it matters: processor, cores, system, versions of the servers.
    #[serde(default)]
    pub machine: BTreeMap<String, String>,
    /// In the order in which they were begun.
    pub measurements: Vec<Measurement>,
}

/// Makes parameters.
#[macro_export]
macro_rules! parameters {
    ($($name:ident = $value:expr),* $(,)?) => {
        $crate::results::Parameters::from([
            $((stringify!($name).to_owned(), $value.to_string())),*
        ])
    };
}

impl Results {
    /// Reads a run.
    ///
    /// # Errors
    /// Where there is no such file, or it holds something else.
    pub fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        serde_json::from_str(&text).with_context(|| file.display().to_string())
    }

    /// Adds another run.
    pub fn merge(&mut self, other: Results) {
        self.machine.extend(other.machine);
        self.measurements.extend(other.measurements);
    }

    /// Adds the value of one round.
    pub fn add(
        &mut self,
        scenario: &str,
        server: &str,
        parameters: &Parameters,
        metric: &str,
        value: f64,
    ) {
        let same = |known: &&mut Measurement| {
            known.scenario == scenario
                && known.server == server
                && known.parameters == *parameters
                && known.metric == metric
        };
        match self.measurements.iter_mut().find(same) {
            Some(known) => known.rounds.push(value),
            None => self.measurements.push(Measurement {
                scenario: scenario.to_owned(),
                server: server.to_owned(),
                parameters: parameters.clone(),
                metric: metric.to_owned(),
                rounds: vec![value],
            }),
        }
    }

    /// The measurement with all these parameters, and maybe others.
    pub fn find(
        &self,
        scenario: &str,
        server: &str,
        parameters: &[(&str, &str)],
        metric: &str,
    ) -> Option<&Measurement> {
        self.measurements.iter().find(|known| {
            known.scenario == scenario
                && known.server == server
                && known.metric == metric
                && parameters.iter().all(|(name, value)| {
                    known.parameters.get(*name).is_some_and(|known| known == value)
                })
        })
    }
}

/// Median, least and most of some values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// As many are below as above.
    pub median: f64,
    /// The least.
    pub least: f64,
    /// The most.
    pub most: f64,
    /// The median of what was sampled lies between these two with a probability of 95 %, by the
    /// order of the values alone; least and most where there are too few of them.
    pub interval: [f64; 2],
}

impl Spread {
    /// Of these values; `None` where there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = match values.len() % 2 {
            1 => values[middle],
            _ => f64::midpoint(values[middle - 1], values[middle]),
        };
        let outside = values_outside(values.len());
        let interval = [values[outside], values[values.len() - 1 - outside]];
        Some(Spread { median, least, most, interval })
    }
}

/// How many of so many values may be left out at either end, so that the median is still between
/// the others with 95 %: how many of them are below it is binomially distributed.
fn values_outside(count: usize) -> usize {
    let mut probability = 0.5_f64.powi(count as i32);
    let mut below = probability;
    let mut outside = 0;
    while below <= 0.025 {
        probability *= (count - outside) as f64 / (outside + 1) as f64;
        below += probability;
        outside += 1;
    }
    outside.saturating_sub(1)
}

impl Measurement {
    /// Over all rounds.
    pub fn spread(&self) -> Option<Spread> {
        Spread::of(self.rounds.iter().copied())
    }

    /// The ratios to another measurement, round by round: what disturbed both cancels out.
    pub fn ratio_to(&self, other: &Measurement) -> Option<Spread> {
        Spread::of(self.rounds.iter().zip(&other.rounds).map(|(ours, theirs)| ours / theirs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(rounds: &[f64]) -> Measurement {
        Measurement {
            scenario: String::new(),
            server: String::new(),
            parameters: Parameters::new(),
            metric: String::new(),
            rounds: rounds.to_vec(),
        }
    }

    #[test]
    fn median_is_in_the_middle() {
        let of = |values: &[f64]| Spread::of(values.iter().copied());

        assert_eq!(None, of(&[]));
        let spread = of(&[9.0, 1.0, 2.0]).unwrap();
        assert_eq!([2.0, 1.0, 9.0], [spread.median, spread.least, spread.most]);
        assert_eq!(2.5, of(&[4.0, 2.0, 1.0, 3.0]).unwrap().median);
    }

    #[test]
    fn interval_leaves_out_what_tables_say() {
        // From tables of the sign test, two-sided 5 %.
        for (count, outside) in [(1, 0), (5, 0), (6, 0), (8, 0), (9, 1), (11, 1), (12, 2), (15, 3)]
        {
            assert_eq!(outside, values_outside(count), "{count}");
        }
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let ratio = measured(&[10.0, 40.0, 90.0]).ratio_to(&measured(&[10.0, 20.0, 30.0]));

        let ratio = ratio.unwrap();
        assert_eq!([2.0, 1.0, 3.0], [ratio.median, ratio.least, ratio.most]);
    }
}
