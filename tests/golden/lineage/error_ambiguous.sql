SELECT carrier FROM flights JOIN airlines ON true
