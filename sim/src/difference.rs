//! Two states side by side: which fields differ, by their paths.
//!
//! A state is known by what its `Debug` form says, as a tree of fields; so anything that can be printed can be compared,
//! and a field that is new tomorrow is compared too. An entry that only one side has shows an empty other side.

use std::collections::BTreeMap;

/// A field that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where: names and places from the outside in.
    pub path: String,
    /// What the left one has.
    pub left: String,
    /// What the right one has.
    pub right: String,
}

/// The fields in which two pretty-printed states differ, at most so many.
pub fn differences(left: &str, right: &str, max: usize) -> Vec<Difference> {
    let (left, right) = (leaves(left), leaves(right));
    let mut found = Vec::new();
    let paths = left.keys().chain(right.keys().filter(|path| !left.contains_key(*path)));
    for path in paths {
        let of = |leaves: &BTreeMap<String, String>| leaves.get(path).cloned().unwrap_or_default();
        let (left, right) = (of(&left), of(&right));
        if left != right && found.len() < max {
            found.push(Difference { path: path.clone(), left, right });
        }
    }
    found
}

/// All leaves of a pretty-printed value, by path. An element without a name is known by its place.
fn leaves(text: &str) -> BTreeMap<String, String> {
    let mut leaves = BTreeMap::new();
    let mut path: Vec<(String, usize)> = vec![(String::new(), 0)];
    for line in text.lines().map(str::trim) {
        let bare = line.trim_end_matches(',');
        let opens = bare.ends_with(['{', '[', '(']);
        if bare.starts_with(['}', ']', ')']) && path.len() > 1 {
            path.pop();
        }
        let (name, value) = match bare.split_once(": ") {
            Some((name, value)) => (name.to_owned(), value),
            None => {
                let place = path.last().map_or(0, |(_, place)| *place);
                (format!("[{place}]"), bare)
            }
        };
        if let Some((_, place)) = path.last_mut() {
            *place += 1;
        }
        if opens {
            path.push((name, 0));
        } else if !bare.starts_with(['}', ']', ')']) {
            let above = path.iter().map(|(name, _)| name.as_str()).filter(|name| !name.is_empty());
            leaves.insert(above.chain([name.as_str()]).collect::<Vec<_>>().join("."), value.to_owned());
        }
    }
    leaves
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap as Map;

    #[derive(Debug, Default)]
    #[expect(dead_code, reason = "printed")]
    struct State {
        term: u64,
        rows: Map<&'static str, Vec<u64>>,
        peer: Option<&'static str>,
    }

    #[test]
    fn fields_that_differ_are_named_by_their_paths() {
        let left = State { term: 1, rows: Map::from([("a", vec![1, 2]), ("b", vec![3])]), peer: None };
        let right = State { term: 1, rows: Map::from([("a", vec![1, 5]), ("b", vec![3])]), peer: Some("n2") };
        let show = |state: &State| format!("{state:#?}");
        assert_eq!(differences(&show(&left), &show(&left), 9), []);
        let found = differences(&show(&left), &show(&right), 9);
        let found: Vec<_> = found.iter().map(|found| (found.path.as_str(), &*found.left, &*found.right)).collect();
        assert_eq!(found[0], ("[0].peer", "None", ""));
        assert!(found.contains(&("[0].rows.\"a\".[1]", "2", "5")), "{found:?}");
        assert_eq!(differences(&show(&left), &show(&right), 1).len(), 1);
    }
}
