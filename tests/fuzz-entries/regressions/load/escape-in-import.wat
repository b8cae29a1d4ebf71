;; And the one that names an import.
(component
  (import "\1b[2J\0aerror: forged" (instance))
  (instance $e)
  (export "tapline:content/cron@0.1.0" (instance $e)))
