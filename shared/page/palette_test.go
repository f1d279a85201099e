package page

import (
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// luminance is that of a colour #rrggbb or #rgb (WCAG 2.2, relative luminance).
func luminance(t *testing.T, hex string) (sum float64) {
	t.Helper()
	hex = strings.TrimPrefix(hex, "#")
	if len(hex) == 3 {
		hex = string([]byte{hex[0], hex[0], hex[1], hex[1], hex[2], hex[2]})
	}
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, err := strconv.ParseUint(hex[2*i:2*i+2], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		c := float64(n) / 255
		if c <= 0.04045 {
			sum += weight * c / 12.92
		} else {
			sum += weight * math.Pow((c+0.055)/1.055, 2.4)
		}
	}
	return sum
}

// TestPalette_CanBeRead: in both themes text has the contrast that WCAG 2.2 wants at
// level AA, 4.5 to 1, and the lines of the charts 3 to 1.
func TestPalette_CanBeRead(t *testing.T) {
	t.Parallel()
	css, err := os.ReadFile("assets/page.css")
	if err != nil {
		t.Fatal(err)
	}
	light, rest, found := strings.Cut(string(css), "@media (prefers-color-scheme: dark)")
	dark, _, closed := strings.Cut(rest, "* {")
	if !found || !closed {
		t.Fatal("page.css has no two palettes")
	}
	for theme, text := range map[string]string{"light": light, "dark": dark} {
		colours := map[string]string{}
		for _, m := range regexp.MustCompile(`--([a-z0-9-]+): (#[0-9a-f]{3,6});`).FindAllStringSubmatch(text, -1) {
			colours[m[1]] = m[2]
		}
		f := func(front, back string, want float64) {
			t.Helper()
			a, b := luminance(t, colours[front]), luminance(t, colours[back])
			if got := (max(a, b) + 0.05) / (min(a, b) + 0.05); got < want {
				t.Errorf("%s: %s on %s has a contrast of %.2f, want %.1f", theme, front, back, got, want)
			}
		}
		for _, back := range []string{"ground", "card", "raised", "lost-ground", "ok-ground", "degraded-ground", "error-ground", "busy-ground"} {
			f("ink", back, 7)
			if back != "raised" { // where only what is chosen stands, in ink
				f("soft", back, 4.5)
			}
		}
		for _, tone := range []string{"ok", "degraded", "error", "busy", "lost"} {
			f(tone, tone+"-ground", 4.5)
		}
		for _, tone := range []string{"ok", "degraded", "error", "accent"} {
			f(tone, "card", 4.5)
		}
		f("accent", "ground", 4.5)
		for i := range 10 {
			f("c"+strconv.Itoa(i+1), "card", 3)
		}
	}
}
