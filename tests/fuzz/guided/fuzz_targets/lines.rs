#![no_main]
//! The target `lines` under libFuzzer.

use std::sync::LazyLock;

static TARGET: LazyLock<mesh_fuzz::Target> = LazyLock::new(|| mesh_fuzz::target("lines"));

libfuzzer_sys::fuzz_target!(|data: &[u8]| (TARGET.run)(data));
