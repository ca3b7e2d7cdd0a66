//! `huxiao-sim`.
fn main() {
    let day = huxiao_sim::day::Day { length: 1800 * 1_000_000, schools: 5 };
    let a: Vec<u64> = std::env::args().skip(1).map(|x| x.parse().unwrap()).collect();
    for seed in a[0]..a[1] {
        let mut w = huxiao_sim::day::world(seed, day, huxiao_sim::province::Nature::of(seed));
        w.trace.on = a.len() > 2;
        match huxiao_sim::day::run(&mut w, day) {
            Ok(t) => {
                if a.len() > 2 {
                    println!("{seed} {t:?}")
                }
            }
            Err(f) => {
                println!("seed {seed} ({}) at {} s: {f}", w.nature.as_str(), w.now / 1000000);
                for l in w.trace.about(f.event, 80) {
                    println!("{l}");
                }
            }
        }
    }
}
