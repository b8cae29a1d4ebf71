;; So did the error that lists the exports.
(component
  (instance $e)
  (export "\1b[2J\0aerror: forged" (instance $e)))
