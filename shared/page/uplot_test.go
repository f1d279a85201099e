package page

import (
	"crypto/sha256"
	"fmt"
	"os"
	"strings"
	"testing"
)

// uPlot is taken as it stands from the npm package uplot, folder dist: another
// version is "npm pack uplot@VERSION", its three files, and their sums here.
const uplotVersion = "1.6.32"

var uplotSums = map[string]string{
	"uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
	"uPlot.min.css":     "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
	"LICENSE.txt":       "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
}

func TestUPlot_IsAsItWasPublished(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir("assets/uplot")
	if err != nil || len(entries) != len(uplotSums) {
		t.Fatalf("got %d files, %v, want %d", len(entries), err, len(uplotSums))
	}
	for name, want := range uplotSums {
		body, err := os.ReadFile("assets/uplot/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("%x", sha256.Sum256(body)); got != want {
			t.Errorf("%s: got SHA-256 %s, want %s", name, got, want)
		}
		if name == "uPlot.iife.min.js" && !strings.Contains(string(body[:200]), "(v"+uplotVersion+")") {
			t.Errorf("got %.200s, want version %s", body, uplotVersion)
		}
		if name == "LICENSE.txt" && !strings.Contains(string(body), "MIT License") {
			t.Errorf("got %s, want the MIT licence", body)
		}
	}
}
