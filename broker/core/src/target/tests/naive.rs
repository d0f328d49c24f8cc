//! What belongs to a target, read from its text by the shortest code that can be believed. Shares nothing with the
//! code it judges.

/// True when this file belongs to a path, directory or glob.
pub(super) fn file_belongs(file: &str, target: &str) -> bool {
    if target == "/" {
        return true;
    }
    let file: Vec<&str> = file.split('/').collect();
    alternatives(target).iter().any(|pattern| {
        let pattern = match pattern.strip_suffix('/') {
            Some(directory) => format!("{directory}/**"),
            None => pattern.clone(),
        };
        path_fits(&pattern.split('/').collect::<Vec<_>>(), &file)
    })
}

fn path_fits(pattern: &[&str], file: &[&str]) -> bool {
    match pattern {
        [] => file.is_empty(),
        ["**"] => !file.is_empty(),
        ["**", rest @ ..] => (0..=file.len()).any(|skip| path_fits(rest, &file[skip..])),
        [first, rest @ ..] => match file {
            [name, after @ ..] => {
                let fits = name_fits(&chars(first), &chars(name)) || (first.contains('[') && first == name);
                fits && path_fits(rest, after)
            }
            [] => false,
        },
    }
}

fn name_fits(pattern: &[char], name: &[char]) -> bool {
    match pattern {
        [] => name.is_empty(),
        ['*', rest @ ..] => (0..=name.len()).any(|skip| name_fits(rest, &name[skip..])),
        ['?', rest @ ..] => !name.is_empty() && name_fits(rest, &name[1..]),
        ['[', rest @ ..] if bracket(rest).is_some() => {
            let (negated, members, after) = bracket(rest).unwrap();
            !name.is_empty() && members.contains(&name[0]) != negated && name_fits(after, &name[1..])
        }
        [c, rest @ ..] => name.first() == Some(c) && name_fits(rest, &name[1..]),
    }
}

/// Whether a class is negated, its members, and what follows it.
fn bracket(text: &[char]) -> Option<(bool, Vec<char>, &[char])> {
    let negated = matches!(text.first(), Some('!' | '^'));
    let inner = if negated { &text[1..] } else { text };
    let end = (1..inner.len()).find(|at| inner[*at] == ']')?;
    let mut members = Vec::new();
    let mut at = 0;
    while at < end {
        if at + 2 < end && inner[at + 1] == '-' {
            members.extend(inner[at]..=inner[at + 2]);
            at += 3;
        } else {
            members.push(inner[at]);
            at += 1;
        }
    }
    Some((negated, members, &inner[end + 1..]))
}

/// The text with its first brace that has a comma replaced by each of its branches, and so on.
fn alternatives(text: &str) -> Vec<String> {
    for (open, _) in text.match_indices('{') {
        let mut depth = 0;
        let mut cuts = vec![open];
        for (at, c) in text.char_indices().skip_while(|(at, _)| *at < open) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 1 => cuts.push(at),
                _ => {}
            }
            if depth == 0 {
                cuts.push(at);
                break;
            }
        }
        if depth == 0 && cuts.len() > 2 {
            let (before, after) = (&text[..open], &text[cuts[cuts.len() - 1] + 1..]);
            return cuts
                .windows(2)
                .flat_map(|cut| alternatives(&format!("{before}{}{after}", &text[cut[0] + 1..cut[1]])))
                .collect();
        }
    }
    vec![text.to_owned()]
}

fn chars(text: &str) -> Vec<char> {
    text.chars().collect()
}

#[test]
fn the_judge_can_read() {
    assert_eq!(alternatives("{a,b{c,d}}{e}"), ["a{e}", "bc{e}", "bd{e}"]);
    assert!(file_belongs("a/b/c", "a/**/c") && file_belongs("a/c", "a/**/c") && !file_belongs("a", "a/"));
    assert!(file_belongs("[ab]", "[ab]") && file_belongs("b", "[!a]") && !file_belongs("a.x", "*.[a-w]"));
}
