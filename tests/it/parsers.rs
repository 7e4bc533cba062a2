//! Parsers of foreign bytes don't panic: random bytes, and valid documents with random damage.
//! The fuzzer in tests/fuzz goes further with the same table.

#[path = "../fuzz/parsers.rs"]
mod table;

use std::{
    panic,
    time::{Duration, Instant, SystemTime},
};

use table::PARSERS;

/// Documents for the damage to begin with, each tried on every parser.
const SEEDS: &[&[u8]] = &[
    b"1\t0/3000148\tno recovery target specified\n2\t0/5000060\tbefore 2026-11-21 02:00:00+00\n",
    b"{ \"PostgreSQL-Backup-Manifest-Version\": 1,\n\"Files\": [\n{ \"Path\": \"PG_VERSION\", \"Size\": 3, \"Last-Modified\": \"2026-11-21 03:46:44 GMT\", \"Checksum-Algorithm\": \"CRC32C\", \"Checksum\": \"64440205\" }\n],\n\"WAL-Ranges\": [\n{ \"Timeline\": 1, \"Start-LSN\": \"0/2000028\", \"End-LSN\": \"0/2000100\" }\n],\n\"Manifest-Checksum\": \"00\"}\n",
    b"START WAL LOCATION: 0/2000028 (file 000000010000000000000002)\nCHECKPOINT LOCATION: 0/2000060\nBACKUP METHOD: streamed\nBACKUP FROM: primary\nSTART TIME: 2026-11-21 03:46:44 UTC\nLABEL: x\nSTART TIMELINE: 1\n",
    b"localhost:5432:*:y:pass\\:word\n# comment\n*:*:*:*:\\\\\n",
    b"[x]\nhost=localhost\nport=5432\n[y]\ndbname=a b\n",
    b"SWARNING\0VWARNING\0C01000\0Mchecksum verification failed in file \"./base/5/1259\", block 7: calculated 1 but expected 2\0\0",
    b"export PGHOST='a b' # c\nPGPORT=\"5432\"\n",
    b"include_if_exists = 'it''s\\101\\\\.conf'\ninclude_dir conf.d\nlocal @a,\"b\"\"\",@\"c d\" \\\n all trust # x\n",
    b"restore_command = 'cp ''x'' %p' # y\nwork_mem = 4MB\n",
    b"000000010000000A000000FE.00000028.backup",
    b"base/5/16384_vm.1",
    // WAL records: a commit with a part, a file and dropped statistics; a row that was deleted.
    b"\x4E\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\0\x80\x01\0\0\0\0\0\0\xFF\x34\0\0\0\0\0\0\0\0\x06\x01\0\0\x01\0\0\0\x08\0\0\0\x01\0\0\0\x7F\x06\0\0\x05\0\0\0\x08\0\0\0\x01\0\0\0\x02\0\0\0\x05\0\0\0\x08\0\0\0",
    b"\x36\0\0\0\x07\0\0\0\0\0\0\0\0\0\0\0\x10\x0A\0\0\0\0\0\0\0\0\0\0\x7F\x06\0\0\x05\0\0\0\x08\0\0\0\0\0\0\0\xFF\x08\x07\0\0\0\x01\0\0\0",
    // A WAL record of 2000 bytes, the header of the second page of a segment, which goes on.
    b"\xD0\x07\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
    b"\x18\xD1\x01\0\x01\0\0\0\0\x04\0\0\0\0\0\0\xF8\x03\0\0\0\0\0\0",
    // An incremental file: two of nine blocks.
    b"\x0D\x1F\xAE\xD3\x02\0\0\0\x09\0\0\0\x01\0\0\0\x05\0\0\0",
    b"{\"gaps\":[{\"format\":1,\"system_id\":\"7\",\"first\":\"000000010000000000000002\",\"last\":\"000000010000000000000003\",\"since\":\"2026-11-21T02:00:00Z\",\"until\":\"2026-11-21T02:00:00Z\",\"reason\":\"x\",\"host\":\"h\"}]}",
    b"20261121T020000Z-incr-12.json",
    b"shop/main_shop_20261121T020000Z_daily.sql.gz",
    // The table of contents of an archive, with one entry.
    b"PGDMP\x01\x10\0\x04\x08\x01\x01\0\x01\0\0\0\0\x02\0\0\0\0\x03\0\0\0\0\x15\0\0\0\0\x0A\0\0\0\0\x7E\0\0\0\0\0\0\0\0\0\x01\0\0\0s\0\x01\0\0\x001\0\x01\0\0\x001\0\x01\0\0\0\0\x07\0\0\0\0\0\0\0\0\0\x01\0\0\x001\0\x01\0\0\x001\0\x01\0\0\0x\0\x08\0\0\0DATABASE",
    b"-- PostgreSQL database dump\n\\connect x\nSET default_tablespace = \"a\"\"b\";\nGRANT x TO \"a\"\"b\", c;\n",
    b"CREATE DATABASE \"x\" WITH TEMPLATE = template0 ENCODING = 'UTF8' LOCALE = 'de''x';\n",
    b"215; 1259 16386 TABLE public accounts postgres\n3321; 0 16386 TABLE DATA public accounts postgres\n",
    b"{\"format\":1,\"name\":\"shop/main_shop_20261121T020000Z_daily\",\"time\":\"2026-11-21T02:00:00Z\",\"host\":\"h\",\"boot_id\":\"b\",\"process\":1,\"process_start\":1}",
    b"{\"format\":1,\"name\":\"shop/main_shop_20261121T020000Z_daily\",\"class\":\"daily\",\"cluster\":\"main\",\"system_id\":\"7\",\"database\":\"shop\",\"dump_format\":\"custom\",\"compression\":\"none\",\"level\":0,\"data\":{\"name\":\"x.dump\",\"plain_bytes\":1,\"stored_bytes\":1,\"sha256\":\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"},\"begun\":\"2026-11-21T02:00:00Z\",\"ended\":\"2026-11-21T02:00:01Z\",\"server_version\":150019,\"client_version\":\"15.19\",\"database_bytes\":1,\"options\":[],\"snapshot\":{\"lsn\":\"0/2000028\",\"time\":\"2026-11-21T02:00:00Z\"},\"contents\":{\"row_counts\":\"exact\",\"tables\":[{\"schema\":\"public\",\"name\":\"t\",\"kind\":\"r\",\"rows\":1}],\"counts\":{\"tables\":1,\"indexes\":0,\"constraints\":0,\"foreign_keys\":0,\"enum_types\":0,\"extensions\":0},\"extensions\":[],\"migrations\":[]},\"missing\":[],\"host\":\"h\",\"pgstow_version\":\"0\"}",
    b"20261121T020000.012345Z.json",
    b"cleanup-7.json",
    b"{\"format\":1,\"purpose\":\"cleanup\",\"number\":7,\"time\":\"2026-11-21T02:00:00Z\",\"until\":\"2026-11-21T02:10:00Z\",\"released\":true,\"host\":\"h\",\"boot_id\":\"b\",\"process\":1,\"process_start\":1,\"wal_from\":[{\"system_id\":\"7\",\"segment\":\"000000010000000000000002\"}]}",
    b"{\"system_id\":\"7\",\"segments\":{\"000000010000000000000002\":{\"facts\":{\"size\":1,\"device\":1,\"inode\":1,\"modified\":[1,2],\"changed\":[1,2]},\"stored\":{\"a\":1}}}}",
    b"{\"format\":1,\"time\":\"2026-11-21T02:00:00Z\",\"until\":\"2026-11-22T02:00:00Z\",\"backup\":\"20261121T020000Z-full\",\"system_id\":\"7\",\"timeline\":1,\"start_lsn\":\"0/2000028\",\"host\":\"h\"}",
    b"{\"version\":1,\"notifiers\":{\"ops\":{\"known\":{\"disk\":{\"state\":\"warning\",\"since\":\"2026-11-21T02:00:00Z\",\"reason\":\"x\",\"told\":\"ok\",\"told_at\":\"2026-11-21T02:00:00Z\"}},\"delivered\":null,\"trouble\":{\"since\":\"2026-11-21T02:00:00Z\",\"error\":\"x\",\"hint\":null}}},\"monitored\":\"ab\"}",
    b"{\"run\":\"1\",\"job\":\"base\",\"repository\":\"local\",\"begun\":\"2026-11-21T02:00:00Z\",\"boot_id\":\"b\",\"process\":1,\"process_start\":1}\n{\"run\":\"1\",\"ended\":\"2026-11-21T03:00:00Z\",\"exit_code\":0,\"bytes\":7,\"backup\":null,\"error\":null}\n",
    b"{\"format\":1,\"files\":[\n{\"path\":\"a\",\"part\":1,\"frame\":0,\"offset\":0,\"size\":1,\"mode\":384,\"mtime\":1,\"crc32c\":1}\n]}\n",
    // The header of an encrypted segment.
    b"age-encryption.org/v1\n-> X25519 AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n-> pgstow-sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n--- AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n0123456789abcdef0123456789abcdef",
];

#[test]
fn no_parser_panics() {
    let long = std::env::var_os("PGSTOW_TEST_LONG").is_some();
    let limit = Duration::from_secs(if long { 600 } else { 5 });
    let begun = Instant::now();
    let seed = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_nanos() as u64;
    eprintln!("seed {seed}");
    let mut random = Random(seed | 1);
    let mut tried = 0u64;
    while begun.elapsed() < limit {
        let input = random.input();
        for (name, parse) in PARSERS {
            let result = panic::catch_unwind(|| parse(&input));
            assert!(result.is_ok(), "{name} panics on {input:?}");
            tried += 1;
        }
    }
    eprintln!("{tried} calls");
    assert!(tried > 1000);
}

/// xorshift64*: a few lines are enough for bytes that need only be various.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 33) as usize % end.max(1)
    }

    fn input(&mut self) -> Vec<u8> {
        let mut bytes = match self.below(3) {
            0 => (0..self.below(600)).map(|_| self.next() as u8).collect(),
            _ => SEEDS[self.below(SEEDS.len())].to_vec(),
        };
        for _ in 0..self.below(8) {
            let at = self.below(bytes.len());
            match self.below(4) {
                0 => bytes.truncate(at),
                1 if !bytes.is_empty() => bytes[at] = self.next() as u8,
                2 => bytes.insert(at, self.next() as u8),
                _ => bytes.extend_from_within(at..),
            }
        }
        bytes
    }
}
