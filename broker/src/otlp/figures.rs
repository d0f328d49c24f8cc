//! Figures as OpenTelemetry has them.

use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum, metric,
    number_data_point,
};

use super::layer::text;
use crate::metrics::{Family, Kind, Sample, Snapshot, Value};

/// All figures of one moment; counters began at `started`.
pub(super) fn metrics(families: Vec<Family>, started: u64, now: u64) -> Vec<Metric> {
    families.into_iter().map(|family| metric(family, started, now)).collect()
}

fn metric(family: Family, started: u64, now: u64) -> Metric {
    let temporality = AggregationTemporality::Cumulative.into();
    let (name, help, kind) = (family.name, family.help, family.kind);
    let mut numbers = Vec::new();
    let mut spreads = Vec::new();
    for Sample { labels, value } in family.samples {
        let attributes = labels.into_iter().map(|(name, value)| text(name, value)).collect();
        match value {
            Value::Number(value) => numbers.push(NumberDataPoint {
                attributes,
                start_time_unix_nano: started,
                time_unix_nano: now,
                value: Some(number_data_point::Value::AsDouble(value)),
                ..NumberDataPoint::default()
            }),
            Value::Spread(spread) => {
                let point = spread_point(spread);
                spreads.push(HistogramDataPoint {
                    attributes,
                    start_time_unix_nano: started,
                    time_unix_nano: now,
                    ..point
                });
            }
        }
    }
    let data = match kind {
        Kind::Counter => metric::Data::Sum(Sum {
            data_points: numbers,
            aggregation_temporality: temporality,
            is_monotonic: true,
        }),
        Kind::Gauge => metric::Data::Gauge(Gauge { data_points: numbers }),
        Kind::Histogram => {
            metric::Data::Histogram(Histogram { data_points: spreads, aggregation_temporality: temporality })
        }
    };
    Metric { name: name.to_owned(), description: help.to_owned(), data: Some(data), ..Metric::default() }
}

fn spread_point(spread: Snapshot) -> HistogramDataPoint {
    HistogramDataPoint {
        count: spread.count(),
        sum: Some(spread.sum),
        bucket_counts: spread.counts,
        explicit_bounds: spread.bounds,
        ..HistogramDataPoint::default()
    }
}
