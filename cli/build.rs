//! Links what unwinds stacks into the program: it starts before and after each tool of an agent, and finding, mapping
//! and setting up one more library is a part of that which can be measured.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |name: &str| std::env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    if target("OS") == "linux" && target("ENV") == "gnu" {
        println!("cargo::rustc-link-arg-bins=-static-libgcc");
    }
}
