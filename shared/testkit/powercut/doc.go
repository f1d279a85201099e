// Package powercut is a machine's disk for tests: a file system that loses, when its power is cut,
// whatever was not synced. It promises that after a cut every synced byte and name is there, and
// that anything else may be there, be missing, or be torn, as bad as POSIX and SQLite allow:
//
//   - The content of a file is certain once fsync or fdatasync of the file has
//     returned. Of what was written since, each 512-byte sector keeps any one of
//     the versions it had, whatever the others keep: a disk's cache writes them in
//     an order of its own. The size is any one that the file had.
//   - The next write to a sector may have been under way: of the bytes it writes
//     only the first or the last are new, or all of them are garbage. Bytes of the
//     sector that it does not write are untouched: SQLite's "powersafe overwrite"
//     (https://sqlite.org/psow.html), which it takes for granted by default.
//   - The room that a file grew into may hold garbage where no write arrived
//     (https://sqlite.org/atomiccommit.html#hardware).
//   - A name, made, removed or renamed, is certain once fsync of its directory has
//     returned; fsync of the file is not enough, as POSIX has it and ext4 in
//     practice has not. Until then each change of a name is kept or lost by itself.
//     A rename is kept or lost as a whole. A file whose name is lost is gone.
//
// What it does not model: mode and times are durable at once, a sync never fails and never lies,
// and what is synced does not rot. There are no links. The package is for Linux on amd64 and arm64,
// where the FUSE library builds.
package powercut
