//! What benches measure: work that is timed by criterion, or repeated so that a tool can count its instructions.
//!
//! `cargo bench` times everything. With `--names` a bench lists its works, and with `--repeat NAME N` it does one of them N times and
//! nothing else: `cargo xtask instructions` makes of it how many instructions one takes.

use criterion::Criterion;

/// Something that can be done again and again, and leaves everything as it was.
pub(crate) struct Work {
    name: String,
    run: Box<dyn FnMut()>,
}

impl Work {
    pub(crate) fn new(name: impl Into<String>, run: impl FnMut() + 'static) -> Self {
        Self { name: name.into(), run: Box::new(run) }
    }
}

/// Does what the command line asks for. Criterion is made only if it is wanted: it starts a process of its own.
pub(crate) fn main(criterion: impl FnOnce() -> Criterion, works: Vec<Work>) {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--names", ..] => works.iter().for_each(|work| println!("{}", work.name)),
        ["--repeat", name, times, ..] => repeat(works, name, times.parse().expect("a number")),
        _ => {
            let mut criterion = criterion().configure_from_args();
            for mut work in works {
                criterion.bench_function(&work.name, |b| b.iter(|| (work.run)()));
            }
            criterion.final_summary();
        }
    }
}

fn repeat(works: Vec<Work>, name: &str, times: u64) {
    let mut work = works.into_iter().find(|work| work.name == name).expect("a name of --names");
    for _ in 0..times {
        (work.run)();
    }
}
