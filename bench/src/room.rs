//! What criterion has measured of the pure room: one table, an operation a line.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::tables::{markdown, number};

/// The medians in nanoseconds: by operation, then by how many peers or asks there were.
type Medians = BTreeMap<String, BTreeMap<u64, f64>>;

/// Reads the folder in which criterion keeps what it measured last. `None` where there is none.
///
/// # Errors
/// Where a file cannot be read, or is not criterion's.
pub fn table(folder: &Path) -> Result<Option<String>> {
    let mut medians = Medians::new();
    for operation in folders(folder)? {
        for size in folders(&folder.join(&operation))? {
            let file = folder.join(&operation).join(&size).join("new/estimates.json");
            let (Ok(size), Ok(text)) = (size.parse(), fs::read_to_string(&file)) else { continue };
            let estimates: Value = serde_json::from_str(&text)?;
            let median = estimates["median"]["point_estimate"].as_f64();
            let median = median.with_context(|| format!("{}: no median", file.display()))?;
            medians.entry(operation.clone()).or_default().insert(size, median);
        }
    }
    Ok((!medians.is_empty()).then(|| render(&medians)))
}

/// The names of the folders in a folder; none where that does not exist.
fn folders(folder: &Path) -> Result<Vec<String>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    let folders = entries.iter().filter(|entry| entry.path().is_dir());
    Ok(folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
}

fn render(medians: &Medians) -> String {
    let sizes: BTreeSet<u64> = medians.values().flat_map(|row| row.keys().copied()).collect();
    let mut lines = vec![vec!["ns, median".to_owned()]];
    lines[0].extend(sizes.iter().map(|size| number(*size as f64, 0)));
    for (operation, row) in medians {
        let mut line = vec![operation.replace('_', " ")];
        let cell = |size| row.get(size).map_or_else(|| "–".to_owned(), |ns| number(*ns, 0));
        line.extend(sizes.iter().map(cell));
        lines.push(line);
    }
    markdown(&lines, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_found_where_criterion_puts_them() {
        let folder = tempfile::tempdir().unwrap();
        for (size, ns) in [("1", 20.4), ("1000", 21.6)] {
            let new = folder.path().join("restore_lock").join(size).join("new");
            fs::create_dir_all(&new).unwrap();
            let text = format!("{{\"median\":{{\"point_estimate\":{ns}}}}}");
            fs::write(new.join("estimates.json"), text).unwrap();
        }

        let table = table(folder.path()).unwrap().unwrap();

        let expected = "| ns, median   |   1 | 1,000 |\n\
                        | ------------ | --: | ----: |\n\
                        | restore lock |  20 |    22 |\n";
        assert_eq!(expected, table);
    }

    #[test]
    fn nothing_measured_is_no_error() {
        assert_eq!(None, table(Path::new("no such folder")).unwrap());
    }
}
