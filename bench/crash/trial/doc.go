// Package trial puts a perigee process through what a disk does to it: it is killed at
// any moment, its files are damaged, its folder fills up, cannot be written or goes
// away. Every response is held against what the origin has sent: status, validator,
// length, bytes, and that nothing older than the last acknowledged purge is served.
//
// It knows perigee by its command line and its listeners only. Start reading at
// trial.go; object.go says what the objects are, client.go what is checked.
package trial
