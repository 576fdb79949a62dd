package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
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

// overwrite replaces one byte of a file.
func (s *story) overwrite(file string, at int64, with byte) {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	s.ts.Check(err)
	_, err = f.WriteAt([]byte{with}, at)
	s.ts.Check(err)
	s.ts.Check(f.Close())
}
