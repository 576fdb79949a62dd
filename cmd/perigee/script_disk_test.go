package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// flipText damages a file where it holds a text, as a disk does: one bit, in place,
// while others have the file open.
func (s *story) flipText(_ bool, args []string) {
	_, args = s.args("flip-text GLOB TEXT", args, 2, 2)
	files, err := filepath.Glob(s.ts.MkAbs(args[0]))
	s.ts.Check(err)
	s.poll("flip-text", func() (bool, string) {
		for _, file := range files {
			text, err := os.ReadFile(file)
			s.ts.Check(err)
			if at := bytes.Index(text, []byte(args[1])); at >= 0 {
				s.overwrite(file, int64(at), text[at]^1)
				return true, ""
			}
		}
		return false, fmt.Sprintf("%q is in none of %q", args[1], files)
	})
}

// flipAt damages the first of some files at a place.
func (s *story) flipAt(_ bool, args []string) {
	_, args = s.args("flip-at GLOB OFFSET", args, 2, 2)
	files, err := filepath.Glob(s.ts.MkAbs(args[0]))
	s.ts.Check(err)
	at, err := strconv.Atoi(args[1])
	s.ts.Check(err)
	if len(files) == 0 {
		s.ts.Fatalf("no file fits %q", args[0])
	}
	text, err := os.ReadFile(files[0])
	s.ts.Check(err)
	if at >= len(text) {
		s.ts.Fatalf("%s has %d bytes only", files[0], len(text))
	}
	s.overwrite(files[0], int64(at), text[at]^1)
}

// overwrite replaces one byte of a file.
func (s *story) overwrite(file string, at int64, with byte) {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	s.ts.Check(err)
	_, err = f.WriteAt([]byte{with}, at)
	s.ts.Check(err)
	s.ts.Check(f.Close())
}
