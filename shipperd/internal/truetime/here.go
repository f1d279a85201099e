package truetime

import "belabox-metrics/shared/clock"

// Here reads the clocks of this machine.
func Here() Present {
	m := clock.Read()
	return Present{Boot: m.BootID, BootMS: m.Boot.Milliseconds(), WallMinusBoot: m.WallMinusBoot(), Synchronised: m.Sync == clock.Yes}
}
