//! Draws histories that are valid by construction, or have one planted violation, and writes them to standard output.
//!
//! ```text
//! cargo run --release -p quorate-checker --example generate -- SHAPE [--ops N] [--keys N] [--clients N] [--seed N]
//!     [--unknown PERCENT] [--mix READS:WRITES:CAS] [--events] [--plant]
//! ```
//! Shapes: `unique` (values written once), `version` (values repeat, answers carry versions), `repeated` (values 0-4, no
//! versions), `etcd` (a Jepsen log of an etcd register), `append` (texts with append). Every operation takes effect at one
//! instant inside its interval; instants are drawn in order, so the answers are those of one real order. `--events`
//! writes invocations and completions apart, in the order of time, as a recorder would. `--plant` makes one late read
//! show a value that had surely been replaced when the read began: another write began after its write had ended, and
//! was itself over.

use std::collections::{BinaryHeap, VecDeque};
use std::io::{self, BufWriter, Write};

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }
}

struct Arguments {
    shape: String,
    ops: u64,
    keys: u64,
    clients: u64,
    seed: u64,
    unknown: u64,
    mix: [u64; 3],
    events: bool,
    plant: bool,
}

fn arguments() -> Result<Arguments, String> {
    let mut given = std::env::args().skip(1);
    let mut parsed = Arguments {
        shape: given.next().ok_or("a shape is missing: unique, version, repeated, etcd or append")?,
        ops: 1000,
        keys: 1,
        clients: 10,
        seed: 1,
        unknown: 0,
        mix: [50, 50, 0],
        events: false,
        plant: false,
    };
    while let Some(flag) = given.next() {
        let mut number = || {
            let text = given.next().ok_or(format!("{flag} needs a number"))?;
            text.parse::<u64>().map_err(|_| format!("{flag}: {text} is no number"))
        };
        match flag.as_str() {
            "--ops" => parsed.ops = number()?,
            "--keys" => parsed.keys = number()?.max(1),
            "--clients" => parsed.clients = number()?.max(1),
            "--seed" => parsed.seed = number()?,
            "--unknown" => parsed.unknown = number()?,
            "--events" => parsed.events = true,
            "--plant" => parsed.plant = true,
            "--mix" => {
                let text = given.next().ok_or("--mix needs READS:WRITES:CAS")?;
                let parts: Vec<u64> = text.split(':').filter_map(|part| part.parse().ok()).collect();
                parsed.mix = parts.try_into().map_err(|_| "--mix needs READS:WRITES:CAS".to_string())?;
            }
            _ => return Err(format!("unknown flag {flag}")),
        }
    }
    Ok(parsed)
}

#[derive(Clone, Copy, PartialEq)]
enum Call {
    Read,
    Write,
    Cas,
}

/// One call on its way: invoked at `start`, takes effect at `point`, returns at `end`.
struct Open {
    client: u64,
    key: usize,
    call: Call,
    start: u64,
    end: u64,
    value: u64,
    expected: u64,
    unknown: bool,
    happens: bool,
    result: Option<(bool, u64, u64)>,
}

/// A write: its value, its version, and its interval.
#[derive(Clone, Copy, Default)]
struct Written {
    value: u64,
    version: u64,
    start: u64,
    end: u64,
}

#[derive(Clone, Copy, Default)]
struct Key {
    value: u64,
    version: u64,
    /// An early write of known outcome, for a lie about it later.
    early: Option<Written>,
    /// A write that began after that had ended.
    newer: Option<Written>,
}

impl Key {
    fn write(&mut self, call: &Open) {
        *self = Key { value: call.value, version: self.version + 1, ..*self };
        let written = Written { value: self.value, version: self.version, start: call.start, end: call.end };
        if call.unknown {
            return;
        }
        match self.early {
            None => self.early = Some(written),
            Some(early) if self.newer.is_none() && early.end < written.start => self.newer = Some(written),
            Some(_) => {}
        }
    }

    /// What a read that began then could not have shown.
    fn stale(&self, start: u64) -> Option<Written> {
        let newer = self.newer.filter(|newer| newer.end < start)?;
        self.early.filter(|early| early.value != self.value && early.value != newer.value)
    }
}

/// What happens next, smallest time first: an invocation, an effect or a return of a slot.
type Next = std::cmp::Reverse<(u64, u8, usize)>;

fn main() -> io::Result<()> {
    let arguments = arguments().unwrap_or_else(|problem| {
        eprintln!("generate: {problem}");
        std::process::exit(2);
    });
    let mut out = BufWriter::with_capacity(1 << 20, io::stdout().lock());
    match arguments.shape.as_str() {
        "append" => append(&arguments, &mut out)?,
        _ => registers(&arguments, &mut out)?,
    }
    out.flush()
}

struct Run<'a, W> {
    arguments: &'a Arguments,
    random: Random,
    keys: Vec<Key>,
    fresh: u64,
    next_client: u64,
    out: W,
    planted: bool,
    etcd: bool,
}

fn registers(arguments: &Arguments, out: &mut impl Write) -> io::Result<()> {
    let etcd = arguments.shape == "etcd";
    if !etcd {
        writeln!(out, "{{\"quorate_history\":1,\"model\":\"kv\",\"clock\":\"us\"}}")?;
    }
    let mut run = Run {
        arguments,
        random: Random(arguments.seed),
        keys: vec![Key::default(); arguments.keys as usize],
        fresh: 0,
        next_client: arguments.clients,
        out,
        planted: !arguments.plant,
        etcd,
    };
    let mut heap: BinaryHeap<Next> = BinaryHeap::new();
    let mut open: Vec<Option<Open>> = Vec::new();
    let mut clients: Vec<u64> = (0..arguments.clients).collect();
    for slot in 0..arguments.clients as usize {
        open.push(None);
        heap.push(std::cmp::Reverse((run.random.below(20), 0, slot)));
    }
    let mut invoked = 0;
    while let Some(std::cmp::Reverse((now, what, slot))) = heap.pop() {
        match what {
            0 if invoked < arguments.ops => {
                invoked += 1;
                let call = run.invoke(now, clients[slot]);
                let point = now + 1 + run.random.below(call.end - now - 1);
                heap.push(std::cmp::Reverse((point, 1, slot)));
                heap.push(std::cmp::Reverse((call.end, 2, slot)));
                run.show_invoke(&call)?;
                open[slot] = Some(call);
            }
            0 => {}
            1 => run.take_effect(open[slot].as_mut().expect("open until it returns"), invoked),
            _ => {
                let call = open[slot].take().expect("open until it returns");
                run.show_return(&call)?;
                if call.unknown {
                    clients[slot] = run.next_client;
                    run.next_client += 1;
                }
                heap.push(std::cmp::Reverse((now + 1 + run.random.below(20), 0, slot)));
            }
        }
    }
    Ok(())
}

impl<W: Write> Run<'_, W> {
    fn invoke(&mut self, now: u64, client: u64) -> Open {
        let [reads, writes, cas] = self.arguments.mix;
        let call = match self.random.below(reads + writes + cas) {
            drawn if drawn < reads => Call::Read,
            drawn if drawn < reads + writes => Call::Write,
            _ => Call::Cas,
        };
        let repeated = self.arguments.shape == "repeated" || self.etcd;
        let mut value = |random: &mut Random| {
            if repeated || self.arguments.shape == "version" {
                1 + random.below(5)
            } else {
                self.fresh += 1;
                self.fresh
            }
        };
        let key = self.random.below(self.arguments.keys) as usize;
        let new = value(&mut self.random);
        let expected = match call {
            // What the key holds now is often still there; values written once could not be guessed otherwise.
            Call::Cas if !repeated || self.random.below(2) == 0 => self.keys[key].value.max(u64::from(repeated)),
            _ => 1 + self.random.below(5),
        };
        Open {
            client,
            key,
            call,
            start: now,
            end: now + 4 + self.random.below(60),
            value: new,
            expected,
            unknown: self.random.below(100) < self.arguments.unknown,
            happens: self.random.below(2) == 0,
            result: None,
        }
    }

    fn take_effect(&mut self, call: &mut Open, invoked: u64) {
        let key = &mut self.keys[call.key];
        if call.unknown && !call.happens {
            return;
        }
        let version = key.version;
        match call.call {
            Call::Read => {
                let late = invoked > self.arguments.ops * 3 / 4;
                let lie = key.stale(call.start).filter(|_| late && !self.planted && !call.unknown);
                self.planted |= lie.is_some();
                call.result = Some(lie.map_or((true, key.value, version), |old| (true, old.value, old.version)));
            }
            Call::Cas if key.value != call.expected => call.result = Some((false, key.value, version)),
            Call::Write | Call::Cas => {
                key.write(call);
                call.result = Some((true, call.value, version + 1));
            }
        }
    }

    fn show_value(value: u64) -> String {
        if value == 0 { "null".to_string() } else { format!("\"v{value}\"") }
    }

    fn show_invoke(&mut self, call: &Open) -> io::Result<()> {
        let Open { client, key, start, value, expected, .. } = call;
        if self.etcd {
            let shown = match call.call {
                Call::Read => ":read\tnil".to_string(),
                Call::Write => format!(":write\t{}", value - 1),
                Call::Cas => format!(":cas\t[{} {}]", expected.max(&1) - 1, value - 1),
            };
            return writeln!(self.out, "INFO  jepsen.util - {client}\t:invoke\t{shown}");
        }
        if !self.arguments.events {
            return Ok(());
        }
        match call.call {
            Call::Read => writeln!(self.out, "{{\"p\":\"c{client}\",\"f\":\"get\",\"k\":\"k{key}\",\"inv\":{start}}}"),
            Call::Write => {
                let value = Self::show_value(*value);
                writeln!(
                    self.out,
                    "{{\"p\":\"c{client}\",\"f\":\"put\",\"k\":\"k{key}\",\"v\":{value},\"inv\":{start}}}"
                )
            }
            Call::Cas => {
                let (from, to) = (Self::show_value(*expected), Self::show_value(*value));
                writeln!(
                    self.out,
                    "{{\"p\":\"c{client}\",\"f\":\"cas\",\"k\":\"k{key}\",\"from\":{from},\"to\":{to},\"inv\":{start}}}"
                )
            }
        }
    }

    fn show_return(&mut self, call: &Open) -> io::Result<()> {
        let Open { client, key, start, end, .. } = *call;
        let (ok, seen, version) = call.result.unwrap_or((true, 0, 0));
        if self.etcd {
            let phase = if call.unknown {
                "info"
            } else if ok {
                "ok"
            } else {
                "fail"
            };
            let shown = match call.call {
                Call::Read if call.unknown => ":read\t:timed-out".to_string(),
                Call::Read if seen == 0 => ":read\tnil".to_string(),
                Call::Read => format!(":read\t{}", seen - 1),
                Call::Write if call.unknown => ":write\t:timed-out".to_string(),
                Call::Write => format!(":write\t{}", call.value - 1),
                Call::Cas if call.unknown => ":cas\t:timed-out".to_string(),
                Call::Cas => format!(":cas\t[{} {}]", call.expected.max(1) - 1, call.value - 1),
            };
            return writeln!(self.out, "INFO  jepsen.util - {client}\t:{phase}\t{shown}");
        }
        let versioned = self.arguments.shape == "version" && !call.unknown;
        let ver = if versioned { format!(",\"ver\":{version}") } else { String::new() };
        if self.arguments.events {
            let phase = if call.unknown {
                "info"
            } else if ok {
                "ok"
            } else {
                "fail"
            };
            let value = match call.call {
                Call::Read if !call.unknown => format!(",\"v\":{}", Self::show_value(seen)),
                Call::Cas if !ok => format!(",\"seen\":{}", Self::show_value(seen)),
                _ => String::new(),
            };
            return writeln!(self.out, "{{\"p\":\"c{client}\",\"ret\":{end},\"r\":\"{phase}\"{value}{ver}}}");
        }
        let (ret, phase) = match (call.unknown, ok) {
            (true, _) => ("null".to_string(), "info"),
            (false, true) => (end.to_string(), "ok"),
            (false, false) => (end.to_string(), "fail"),
        };
        let tail = format!("\"inv\":{start},\"ret\":{ret},\"r\":\"{phase}\"{ver}}}");
        let head = format!("{{\"p\":\"c{client}\",\"f\":");
        match call.call {
            Call::Read if call.unknown => writeln!(self.out, "{head}\"get\",\"k\":\"k{key}\",{tail}"),
            Call::Read => writeln!(self.out, "{head}\"get\",\"k\":\"k{key}\",\"v\":{},{tail}", Self::show_value(seen)),
            Call::Write => {
                writeln!(self.out, "{head}\"put\",\"k\":\"k{key}\",\"v\":{},{tail}", Self::show_value(call.value))
            }
            Call::Cas => {
                let (from, to) = (Self::show_value(call.expected), Self::show_value(call.value));
                let seen = if ok { String::new() } else { format!("\"seen\":{},", Self::show_value(seen)) };
                writeln!(self.out, "{head}\"cas\",\"k\":\"k{key}\",\"from\":{from},\"to\":{to},{seen}{tail}")
            }
        }
    }
}

/// A call on a text: key, which call, and the text it carries or returns.
type Waiting = (usize, u8, String);

/// Texts with append in porcupine's form: clients get, put and append on a few keys.
fn append(arguments: &Arguments, out: &mut impl Write) -> io::Result<()> {
    let mut random = Random(arguments.seed);
    let mut texts = vec![String::new(); arguments.keys as usize];
    let mut waiting: Vec<Option<Waiting>> = vec![None; arguments.clients as usize];
    let mut heap: BinaryHeap<Next> =
        (0..arguments.clients as usize).map(|slot| std::cmp::Reverse((random.below(20), 0, slot))).collect();
    let mut counts: VecDeque<u64> = vec![0; arguments.clients as usize].into();
    let mut invoked = 0;
    while let Some(std::cmp::Reverse((now, what, slot))) = heap.pop() {
        match what {
            0 if invoked < arguments.ops => {
                invoked += 1;
                let key = random.below(arguments.keys) as usize;
                let call = match random.below(100) {
                    0..50 => 0u8,
                    50..60 => 1,
                    _ => 2,
                };
                counts[slot] += 1;
                let text = format!("x {slot} {} y", counts[slot]);
                let end = now + 4 + random.below(60);
                heap.push(std::cmp::Reverse((now + 1 + random.below(end - now - 1), 1, slot)));
                heap.push(std::cmp::Reverse((end, 2, slot)));
                let (name, shown) = match call {
                    0 => ("get", "nil".to_string()),
                    1 => ("put", format!("{text:?}")),
                    _ => ("append", format!("{text:?}")),
                };
                writeln!(out, "{{:process {slot}, :type :invoke, :f :{name}, :key \"{key}\", :value {shown}}}")?;
                waiting[slot] = Some((key, call, text));
            }
            0 => {}
            1 => {
                let (key, call, text) = waiting[slot].as_mut().expect("open until it returns");
                match call {
                    0 => text.clone_from(&texts[*key]),
                    1 => texts[*key].clone_from(text),
                    _ => texts[*key].push_str(text),
                }
            }
            _ => {
                let (key, call, text) = waiting[slot].take().expect("open until it returns");
                let name = ["get", "put", "append"][usize::from(call)];
                writeln!(out, "{{:process {slot}, :type :ok, :f :{name}, :key \"{key}\", :value {text:?}}}")?;
                heap.push(std::cmp::Reverse((now + 1 + random.below(20), 0, slot)));
            }
        }
    }
    Ok(())
}
