//go:build race

package disk

// raceDetector tells that everything takes some ten times as long.
const raceDetector = true
