;; The engine's error repeated the name as it stands, with what clears a terminal.
(component
  (core module $m)
  (core instance $i (instantiate $m))
  (alias core export $i "\1b[2J\0aerror: forged" (core func $f))
  (instance $e)
  (export "tapline:content/cron@0.1.0" (instance $e)))
