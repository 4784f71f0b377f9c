use super::*;
use quorate_core::config::Mode;
use quorate_core::id::NodeId;
use quorate_core::time::Duration;

const THREE: &str = r#"
    [node]
    id = "n2"
    [cluster]
    name = "prod"
    partitions = 64
    [[member]]
    id = 1
    peer = "10.0.0.1:7400"
    client = "10.0.0.1:6379"
    [[member]]
    id = 2
    peer = "10.0.0.2:7400"
    client = "10.0.0.2:6379"
    [[member]]
    id = 3
    name = "third"
    peer = "[fe80::3]:7400"
    client = "[fe80::3]:6379"
"#;

fn load(text: &str) -> Result<Config, Problems> {
    Config::load(Some(("quorate.toml", text)), [], &[])
}

fn checked(text: &str) -> Result<Checked, Problems> {
    load(text)?.check()
}

#[test]
fn nothing_at_all_is_one_node_on_loopback() {
    let checked = Config::default().check().unwrap();
    assert_eq!((checked.me, checked.name.as_str()), (NodeId(1), "n1"));
    assert_eq!((checked.founding.rf(), checked.founding.members().len()), (1, 1));
    assert_eq!(checked.listen_client, "127.0.0.1:6379");
    assert_eq!(checked.members[0].port, 6379);
    assert!(checked.warnings.is_empty());
}

#[test]
fn a_file_becomes_a_founding_record() {
    let text = format!(
        "{THREE}\n[[keyspace]]\nprefix = \"\"\nr = 1\n[[keyspace]]\nprefix = \"lin:\"\nmode = \"register\"\n\
         [timeouts]\nrequest = \"2s\"\n[storage]\nmax_value = \"64KiB\"\nengine = \"memory\"\n"
    );
    let checked = checked(&text).unwrap();
    assert_eq!(checked.me, NodeId(2));
    let lin = checked.founding.keyspace(b"lin:x").unwrap();
    assert_eq!((lin.mode, lin.n, lin.r, lin.w), (Mode::Register, 3, 2, 2));
    let rest = checked.founding.keyspace(b"x").unwrap();
    assert_eq!((rest.mode, rest.n, rest.r, rest.w), (Mode::Lww, 3, 1, 2));
    assert_eq!(checked.node.request_timeout, Duration::from_secs(2));
    assert_eq!(checked.node.value_bytes_max, 64 << 10);
    assert_eq!(checked.storage, Storage::Memory);
    assert_eq!(checked.peer_addresses[&NodeId(3)], "[fe80::3]:7400");
    let third = &checked.members[2];
    assert_eq!((third.name.as_str(), third.host.as_str(), third.port), ("third", "fe80::3", 6379));
}

#[test]
fn all_members_of_one_file_found_the_same_cluster() {
    let by = |me: &str| checked(&THREE.replace("\"n2\"", &format!("\"{me}\""))).unwrap();
    let (one, third) = (by("n1"), by("third"));
    assert_eq!(one.founding.fingerprint(), third.founding.fingerprint());
    assert_eq!((one.me, third.me, by("3").me), (NodeId(1), NodeId(3), NodeId(3)));
}

#[test]
fn later_sources_win_and_are_named() {
    let variables = [
        ("QUORATE_LISTEN_CLIENT", "127.0.0.1:1"),
        ("QUORATE_LISTEN_PEER", "127.0.0.1:2"),
        ("QUORATE_TIMEOUTS_CLOCK_DRIFT_MAX", "1s"),
        // Not ours: other commands read these.
        ("QUORATE_SEED", "7"),
        ("QUORATE_SHARDS", "4"),
        ("HOME", "/root"),
    ];
    let file = "[listen]\nclient = \"127.0.0.1:9\"\npeer = \"127.0.0.1:9\"\nadmin = \"127.0.0.1:9\"\n";
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let flags = ["listen.client=127.0.0.1:0".to_owned(), "limits.max_clients=5".to_owned()];
    let config = Config::load(Some(("q.toml", file)), variables, &flags).unwrap();
    let listen = &config.sections.listen;
    let addresses = (listen.client.as_str(), listen.peer.as_str(), listen.admin.as_str());
    assert_eq!(addresses, ("127.0.0.1:0", "127.0.0.1:2", "127.0.0.1:9"));
    assert_eq!(config.sections.timeouts.clock_drift_max, Span::millis(1_000));
    let printed = config.print();
    for (setting, origin) in [
        ("client = \"127.0.0.1:0\"", "--set"),
        ("peer = \"127.0.0.1:2\"", "$QUORATE_LISTEN_PEER"),
        ("admin = \"127.0.0.1:9\"", "q.toml"),
        ("max_clients = 5", "--set"),
        ("request = \"1s\"", "default"),
    ] {
        assert!(printed.contains(&format!("{setting:<40} # {origin}\n")), "{setting} in\n{printed}");
    }
    assert_eq!(load(&printed).unwrap().sections, config.sections, "what is printed can be read back");
}

#[test]
fn the_example_says_what_the_defaults_say() {
    let config = load(&Config::example()).unwrap();
    assert_eq!(config.sections, Sections::default());
    assert!(Sections::KEYS.iter().all(|(_, _, meaning)| meaning.ends_with('.')), "every key is explained");
}

#[test]
fn what_is_wrong_is_said_with_the_key_to_change() {
    for (text, expected) in [
        ("[listen]\nclinet = \"x:1\"", "quorate.toml: listen.clinet is no key; did you mean listen.client?"),
        ("[lisen]\nclient = \"x:1\"", "quorate.toml: [lisen] is no section; did you mean [listen]?"),
        ("[quux]\na = 1", "quorate.toml: [quux] is no section"),
        ("listen = 5", "quorate.toml: listen is a section: write [listen] on a line of its own"),
        ("[member]\nid = 1", "quorate.toml: write [[member]] with double brackets, once for each"),
        ("[cluster]\nrf = \"three\"", "quorate.toml: cluster.rf takes a number from 0 to 255"),
        ("[cluster]\nrf = 300", "quorate.toml: cluster.rf takes a number from 0 to 255"),
        ("[cluster]\nbootstrap = 1", "quorate.toml: cluster.bootstrap takes true or false"),
        ("[timeouts]\nrequest = 5", "quorate.toml: timeouts.request takes a time such as 250ms, 10s or 3h"),
        ("[timeouts]\nrequest = \"5\"", "quorate.toml: timeouts.request takes a time such as 250ms, 10s or 3h"),
        ("[storage]\nmemtable = \"x\"", "quorate.toml: storage.memtable takes a size such as 64KiB, 1MiB or 2GB"),
        (
            "[tls]\nmode = \"mutual\"",
            "quorate.toml: [tls] is not in this version: there is no TLS: keep the ports within a network that you \
             trust; remove it",
        ),
        (
            "[[keyspace]]\nsloppy = true",
            "quorate.toml: [[keyspace]] 1: keyspace.sloppy is not in this version: quorums are always strict; remove it",
        ),
        ("[[member]]\nnmae = \"a\"", "quorate.toml: [[member]] 1: member.nmae is no key; did you mean member.name?"),
        ("[[member]]\nid = \"a\"", "quorate.toml: [[member]] 1: member.id takes a number"),
        ("[timeouts]\nrequest = \"0s\"", "timeouts.request is 0s; it lies between 1ms and 60s"),
        ("[timeouts]\nclock_drift_max = \"2m\"", "timeouts.clock_drift_max is 2m; it lies between 1ms and 60s"),
        ("[storage]\nengine = \"rocksdb\"", "storage.engine is \"rocksdb\"; it takes lsm, memory"),
        ("[storage]\nwal_sync = \"os\"", "storage.wal_sync is \"os\"; it takes always"),
        ("[storage]\nmax_value = \"2MiB\"", "storage.max_value is 2MiB; it lies between 1B and 1MiB"),
        ("[storage]\nlog_bytes_max = 5", "storage.log_bytes_max is 5B; it lies between 192MiB and 64GiB"),
        ("[limits]\nmax_batch = 5000", "limits.max_batch is 5000; it lies between 1 and 2047"),
        ("[cluster]\npartitions = 100", "cluster.partitions is 100; it is a power of two from 16 to 16384"),
        ("[cluster]\nname = \"\"", "cluster.name is empty; give the cluster a name of its own"),
        ("[cluster]\nrf = 3", "cluster.rf is 3; it lies between 1 and the number of members, 1, at most 15"),
        ("[[keyspace]]\nmode = \"lww\"\nn = 2", "[[keyspace]] \"\": n is 2; it lies between 1 and cluster.rf, 1"),
        ("[[keyspace]]\nr = 0", "[[keyspace]] \"\": r is 0; it lies between 1 and n, 1"),
        (
            "[[keyspace]]\nmode = \"chain\"",
            "[[keyspace]] \"\": mode \"chain\" is not in this version; there are lww, register",
        ),
        ("[[keyspace]]\nmode = \"x\"", "[[keyspace]] \"\": mode is \"x\"; it takes lww, register"),
        ("[[keyspace]]\n[[keyspace]]", "two [[keyspace]] have the same prefix; a key belongs to one"),
        ("[listen]\nclient = \"6379\"", "listen.client is \"6379\"; it takes host:port, such as 127.0.0.1:6379"),
        (
            "[listen]\nclient = \"0.0.0.0:6379\"",
            "listen.client is \"0.0.0.0:6379\", so other machines could read and write everything; set \
             auth.password_file, or listen on 127.0.0.1",
        ),
        (
            "[auth]\npassword_file = \"/nonexistent\"",
            "auth.password_file /nonexistent cannot be read: No such file or directory (os error 2)",
        ),
        (&THREE.replace("id = \"n2\"", ""), "node.id is missing; say which member this is: one of n1, n2, third"),
        (&THREE.replace("\"n2\"", "\"n9\""), "node.id is \"n9\", which is no member; there are n1, n2, third"),
        (&THREE.replace("id = 3", "id = 1"), "[[member]] 3: member.id 1 is that of [[member]] 1"),
        (&THREE.replace("id = 3", ""), "[[member]] 3: member.id is missing; number the members from 1 on"),
        (&THREE.replace("third", "n1"), "[[member]] 3: member.name \"n1\" is that of [[member]] 1"),
        (
            &THREE.replace("third", "a b"),
            "[[member]] 3: member.name \"a b\" has letters, digits, '-', '_', '.', at most 64",
        ),
        (
            &THREE.replace("peer = \"10.0.0.1:7400\"", ""),
            "[[member]] 1: member.peer is \"\"; it takes host:port, as others reach it",
        ),
        (
            &THREE.replace("[fe80::3]:6379", "fe80::3:6379"),
            "[[member]] 3: member.client is \"fe80::3:6379\"; it takes host:port, as others reach it",
        ),
        (
            &format!("{THREE}[[keyspace]]\nmode = \"register\"\nr = 1"),
            "[[keyspace]] \"\": a register always waits for a majority, 2 of 3; leave r out",
        ),
    ] {
        let problems = checked(text).map(|_| ()).expect_err(text);
        assert_eq!(problems.to_string(), expected, "{text}");
    }
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let problems = load("[listen]\na = 1\n[cluster]\nrf = -1").unwrap_err();
    assert_eq!(problems.0.len(), 2);
    let problems = checked("[cluster]\npartitions = 5\nrf = 9\n[log]\nlevel = \"loud\"").unwrap_err();
    assert_eq!(problems.0.len(), 3);
}

#[test]
fn broken_toml_names_the_place() {
    let problems = load("[listen\nclient = 1").unwrap_err().to_string();
    assert!(problems.starts_with("quorate.toml: TOML parse error at line 1"), "{problems}");
}

#[test]
fn flags_and_variables_are_checked_like_the_file() {
    let flag = |flag: &str| Config::load(None, [], &[flag.to_owned()]).unwrap_err().to_string();
    assert_eq!(flag("listen"), "--set listen: write section.key=value");
    assert_eq!(flag("listen=1"), "--set listen=1: write section.key=value");
    assert_eq!(flag("listen.pear=1"), "--set listen.pear: listen.pear is no key; did you mean listen.peer?");
    assert_eq!(flag("member.id=1"), "--set member.id: [[member]] can be set in the file only");
    assert_eq!(flag("nodes.id=1"), "--set nodes.id: [nodes] is no section; did you mean [node]?");
    assert_eq!(flag("cluster.rf=x"), "--set cluster.rf: cluster.rf takes a number from 0 to 255");
    let variable = ("QUORATE_LISTEN_PEAR".to_owned(), "x".to_owned());
    let problems = Config::load(None, [variable], &[]).unwrap_err().to_string();
    assert_eq!(problems, "$QUORATE_LISTEN_PEAR: listen.pear is no key; did you mean listen.peer?");
}

#[cfg(unix)]
#[test]
fn a_password_opens_the_port_to_others_if_its_file_is_closed() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    let shown = path.display().to_string();
    let text = format!("[listen]\nclient = \"0.0.0.0:6379\"\n[auth]\npassword_file = {shown:?}");
    let mode = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    std::fs::write(&path, "pw\n").unwrap();
    mode(0o644);
    let refused = format!("auth.password_file {shown} is open to every user of this machine; chmod 600 it");
    assert_eq!(checked(&text).unwrap_err().to_string(), refused);
    mode(0o600);
    let open = checked(&text).unwrap();
    assert!(open.password.as_ref().unwrap().matches(b"pw"));
    assert!(!format!("{open:?}").contains("pw\""), "no password in a debug print");
    std::fs::write(&path, "\n").unwrap();
    let empty = format!("auth.password_file {shown} is empty; write the password into it");
    assert_eq!(checked(&text).unwrap_err().to_string(), empty);
}

#[test]
fn open_ports_without_passwords_are_warned_of() {
    let checked = checked("[listen]\npeer = \"0.0.0.0:7400\"\nadmin = \"0.0.0.0:7401\"").unwrap();
    assert_eq!(checked.warnings.len(), 2);
}
