//! Figures as Prometheus reads them: its text format, version 0.0.4.

use std::fmt::Write;

use super::{Family, Kind, Sample, Snapshot, Value};

/// What the text is, to be told with it.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All figures as text.
pub(crate) fn encode(families: &[Family]) -> String {
    let mut text = String::new();
    for family in families {
        let kind = match family.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# HELP {0} {1}\n# TYPE {0} {kind}", family.name, family.help);
        for sample in &family.samples {
            encode_sample(&mut text, family.name, sample);
        }
    }
    text
}

fn encode_sample(text: &mut String, name: &str, sample: &Sample) {
    match &sample.value {
        Value::Number(value) => {
            let _ = writeln!(text, "{name}{} {value}", labels(&sample.labels, None));
        }
        Value::Spread(spread) => encode_spread(text, name, &sample.labels, spread),
    }
}

fn encode_spread(text: &mut String, name: &str, own: &[(&'static str, String)], spread: &Snapshot) {
    let mut total = 0;
    for (at, count) in spread.counts.iter().enumerate() {
        total += count;
        let bound = spread.bounds.get(at).map_or_else(|| "+Inf".to_owned(), ToString::to_string);
        let _ = writeln!(text, "{name}_bucket{} {total}", labels(own, Some(&bound)));
    }
    let labels = labels(own, None);
    let _ = writeln!(text, "{name}_sum{labels} {}\n{name}_count{labels} {total}", spread.sum);
}

fn labels(own: &[(&'static str, String)], bound: Option<&str>) -> String {
    let own = own.iter().map(|(name, value)| (*name, value.as_str()));
    let all: Vec<String> = own
        .chain(bound.map(|bound| ("le", bound)))
        .map(|(name, value)| {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            format!("{name}=\"{value}\"")
        })
        .collect();
    if all.is_empty() { String::new() } else { format!("{{{}}}", all.join(",")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_written_as_its_readers_expect() {
        let number = |value| Sample { labels: Vec::new(), value: Value::Number(value) };
        let spread = Snapshot { bounds: vec![0.5, 1.0], counts: vec![2, 0, 1], sum: 7.25 };
        let labels = vec![("method", "a\"\\b\n".to_owned())];
        let families = [
            Family { name: "a_total", help: "A.", kind: Kind::Counter, samples: vec![number(3.0)] },
            Family { name: "b_bytes", help: "B.", kind: Kind::Gauge, samples: vec![number(1_536.0)] },
            Family {
                name: "c_seconds",
                help: "C.",
                kind: Kind::Histogram,
                samples: vec![Sample { labels, value: Value::Spread(spread) }],
            },
        ];
        let expected = r#"# HELP a_total A.
# TYPE a_total counter
a_total 3
# HELP b_bytes B.
# TYPE b_bytes gauge
b_bytes 1536
# HELP c_seconds C.
# TYPE c_seconds histogram
c_seconds_bucket{method="a\"\\b\n",le="0.5"} 2
c_seconds_bucket{method="a\"\\b\n",le="1"} 2
c_seconds_bucket{method="a\"\\b\n",le="+Inf"} 3
c_seconds_sum{method="a\"\\b\n"} 7.25
c_seconds_count{method="a\"\\b\n"} 3
"#;
        assert_eq!(encode(&families), expected);
    }
}
